/**
 * The configuration file, as people write it. From this come the validation, the types of what is read, the
 * JSON Schema that is shipped (packaging/handoffd.schema.json) and the reference in docs/configuration.md.
 */
import { Optional as optional, Type, type Static } from "@sinclair/typebox";
import { DEFAULTS } from "./defaults.ts";
import { PrincipalSchema } from "./schema-process.ts";
import { ServiceSchema } from "./schema-service.ts";
import { either, mapping, NAME, named, oneOf, text, value, whole } from "./schema-values.ts";

const NAME_RULE = 'a letter, then letters, digits, "_" and "-", at most 63 in all';

const ListenerSchema = mapping(
  {
    address: value("address", {
      description:
        "Where it listens: `tcp:HOST:PORT` with a literal address, `unix:/PATH`, `unix:@NAME` (abstract) or `systemd:NAME`. A port alone means all IPv4 addresses of the host.",
      examples: ["tcp:0.0.0.0:8080", "[::]:80", "8080", "unix:/run/app/ipc.sock"],
    }),
    backlog: optional(
      whole(1, 65535, {
        description:
          "How many connections may wait to be accepted. The kernel caps it at net.core.somaxconn.",
        default: DEFAULTS.backlog,
      }),
    ),
    mode: optional(
      value("mode", {
        description: "The mode of a unix socket's path.",
        "x-default": "what the umask leaves",
        examples: ["0660"],
      }),
    ),
    group: optional(text({ description: "The group of a unix socket's path.", "x-default": "the daemon's" })),
  },
  { description: "A named address that the daemon owns." },
);

const AdminSchema = mapping(
  {
    socket: optional(
      mapping(
        {
          path: optional(
            value("socket-path", {
              description: "Where it is.",
              "x-default": `${DEFAULTS.adminSocketName} in paths.runtime`,
            }),
          ),
          mode: optional(value("mode", { description: "Its mode.", default: DEFAULTS.adminMode })),
          group: optional(text({ description: "Its group.", "x-default": "the daemon's" })),
          roles: optional(
            mapping(
              {
                read: optional(PrincipalSchema),
                deploy: optional(PrincipalSchema),
                admin: optional(PrincipalSchema),
              },
              {
                description:
                  "Who may do what. Root and the daemon's own user are admin without being named; whoever is not named may do nothing. Without this section whoever may connect may do everything.",
              },
            ),
          ),
        },
        { description: "The unix socket of the API. Callers are known by the kernel's word (SO_PEERCRED)." },
      ),
    ),
    http: optional(
      mapping(
        {
          address: value("tcp-address", {
            description:
              "Where the API is served by TCP. Without `tokens` or `tls.client_ca`: a loopback address only, and everyone may look but change nothing.",
          }),
          tokens: optional(
            value("path", {
              description:
                "The file of those who may, with hashed bearer tokens and names of certificates: a line each, as `handoffd token new` writes them. Mode 0600 or 0640. Read again at a reload.",
            }),
          ),
          tls: optional(
            mapping(
              {
                cert: value("path", { description: "The certificate chain, PEM." }),
                key: value("path", { description: "Its private key, PEM." }),
                client_ca: optional(
                  value("path", {
                    description:
                      "Who signs client certificates, PEM. A certificate is another way than a token, never needed beside one; its role stands in `tokens`, without which it is `read`.",
                  }),
                ),
              },
              { description: "TLS for the API." },
            ),
          ),
        },
        { description: "The API by TCP; without this section there is none." },
      ),
    ),
  },
  { description: "How the daemon is spoken to." },
);

export const ConfigFileSchema = mapping(
  {
    listeners: optional(
      named(NAME, `a listener's name: ${NAME_RULE}`, ListenerSchema, {
        description: "The listening sockets, by name.",
      }),
    ),
    services: optional(
      named(NAME, `a service's name: ${NAME_RULE}`, ServiceSchema, {
        description: "The applications, by name.",
      }),
    ),
    admin: optional(AdminSchema),
    metrics: optional(
      mapping(
        {
          address: value("tcp-address", {
            description: "Where /metrics is served, beside the API, to everyone who can reach it.",
          }),
        },
        { description: "An own address for metrics; without this section /metrics is part of the API." },
      ),
    ),
    paths: optional(
      mapping(
        {
          runtime: optional(
            value("path", {
              description: "Where sockets are made. RUNTIME_DIRECTORY, which systemd sets, wins over it.",
              default: DEFAULTS.runtime,
            }),
          ),
          state: optional(
            value("path", {
              description: "What must outlive a boot. STATE_DIRECTORY, which systemd sets, wins over it.",
              default: DEFAULTS.state,
            }),
          ),
        },
        { description: "The daemon's directories." },
      ),
    ),
    marks: optional(
      either(
        [
          Type.Literal("off"),
          mapping(
            {
              base: optional(
                whole(0x10000, 0x7fff0000, {
                  description: "The first mark, a multiple of 0x10000.",
                  default: DEFAULTS.marksBase,
                }),
              ),
            },
            { description: "Which marks are ours." },
          ),
        ],
        '"off", or a mapping such as { base: 0x4a0000 }',
        {
          description: "SO_MARK values by which connections are counted per generation; `off`: none.",
          default: { base: DEFAULTS.marksBase },
        },
      ),
    ),
    keeper: optional(
      oneOf(["auto", "off"], {
        description:
          "Who else holds the sockets: auto is systemd's fdstore where the unit offers one (FileDescriptorStoreMax=, systemd 254), else handoff-keeper, a process of its own.",
        default: DEFAULTS.keeper,
      }),
    ),
    log: optional(
      mapping(
        {
          level: optional(
            oneOf(["trace", "debug", "info", "warn", "error", "fatal"], {
              description: "The least severe events that are logged.",
              default: DEFAULTS.logLevel,
            }),
          ),
        },
        { description: "The daemon's own log." },
      ),
    ),
  },
  { description: "handoffd's configuration" },
);

/** What a valid file contains, before defaults. */
export type ConfigFile = Static<typeof ConfigFileSchema>;
export type ListenerFile = Static<typeof ListenerSchema>;
export type ServiceFile = Static<typeof ServiceSchema>;
export type PrincipalFile = Static<typeof PrincipalSchema>;
