/** What a service's section of the file may say. */
import { Optional as optional, Type } from "@sinclair/typebox";
import { DEFAULTS } from "./defaults.ts";
import { DeploySchema } from "./schema-deploy.ts";
import { LimitsSchema, PrincipalSchema } from "./schema-process.ts";
import { ReadySchema, VerifySchema } from "./schema-proof.ts";
import {
  commandLine,
  either,
  flag,
  list,
  mapping,
  NAME,
  named,
  text,
  value,
  VERSION,
  whole,
} from "./schema-values.ts";

export const ServiceSchema = mapping(
  {
    command: optional(
      commandLine({
        description:
          "The program and its arguments. A program without a slash is searched in PATH; a relative one begins at `directory`. Only a service with `external` may be without.",
        examples: [["node", "server.js"]],
      }),
    ),
    directory: optional(
      value("path", {
        description: "Where it runs. `{version}` stands for the version that is deployed.",
        "x-default": "the daemon's",
        examples: ["/srv/api/releases/{version}"],
      }),
    ),
    version: optional(
      Type.String({
        pattern: VERSION,
        "x-expected":
          'a version: letters, digits, ".", "_" and "-", beginning with a letter or digit, at most 128',
        description: "The version of the first start; afterwards the last good one is remembered.",
        examples: ["41"],
      }),
    ),
    environment: optional(
      named(
        "^[A-Za-z_][A-Za-z0-9_]*$",
        'a variable: letters, digits and "_", not beginning with a digit',
        Type.String({ "x-expected": "text", "x-value": "text" }),
        { description: "Variables for the program. Values are text: numbers and booleans stand in quotes." },
      ),
    ),
    environment_file: optional(
      value("path", {
        description:
          "A file of NAME=value lines, read at each start of a generation. `environment` wins over it.",
      }),
    ),
    user: optional(
      either([Type.String({ minLength: 1 }), Type.Integer({ minimum: 0 })], "a user's name or uid", {
        description: "Whom it runs as. Another user than the daemon's own needs root.",
        "x-default": "the daemon's",
      }),
    ),
    group: optional(text({ description: "Its group, by name.", "x-default": "the user's first" })),
    groups: optional(
      list(text({ description: "A group by name." }), {
        description: "Supplementary groups, beside those of the user database.",
        default: [],
      }),
    ),
    umask: optional(
      value("mode", { description: "Its umask.", "x-default": "the daemon's", examples: ["0027"] }),
    ),
    limits: optional(LimitsSchema),
    nice: optional(whole(-20, 19, { description: "Its nice value.", "x-default": "the daemon's" })),
    no_new_privileges: optional(
      flag({
        description: "No set-uid program that it starts gains anything (no_new_privs).",
        default: DEFAULTS.noNewPrivileges,
      }),
    ),
    listeners: optional(
      list(Type.String({ pattern: NAME, "x-expected": "the name of a listener" }), {
        description:
          "The listeners it serves, in this order at descriptors 3, 4, …; each belongs to one service only.",
        default: [],
      }),
    ),
    instances: optional(
      whole(1, 1024, { description: "How many processes a generation has.", default: DEFAULTS.instances }),
    ),
    ready: optional(ReadySchema),
    verify: optional(
      list(VerifySchema, {
        description: "What a candidate must pass before the first user reaches it, in this order.",
        default: [],
      }),
    ),
    deploy: optional(DeploySchema),
    drain: optional(
      mapping(
        {
          signal: optional(
            value("signal", {
              description:
                "What tells an instance to finish its work and exit. It finds it in HANDOFF_DRAIN_SIGNAL.",
              default: DEFAULTS.drainSignal,
            }),
          ),
          settle: optional(
            value("duration", {
              description: "How long to wait at most for the queue to be empty before the signal.",
              default: DEFAULTS.drainSettle,
            }),
          ),
          timeout: optional(
            value("duration", {
              description:
                "After so long, SIGKILL to the process group. What it cuts is counted. An instance finds it in HANDOFF_DRAIN_TIMEOUT_MS.",
              default: DEFAULTS.drainTimeout,
            }),
          ),
        },
        { description: "How a generation ends." },
      ),
    ),
    fdstore: optional(
      mapping(
        {
          max: optional(
            whole(0, 4096, {
              description: "How many descriptors the application may keep across generations.",
              default: DEFAULTS.fdstoreMax,
            }),
          ),
        },
        { description: "Descriptors that the next generation gets back (FDSTORE=1)." },
      ),
    ),
    external: optional(
      mapping(
        {
          allow: PrincipalSchema,
          socket: optional(
            value("socket-path", {
              description:
                "Where handoff-exec connects. Its folder also has the instances' notify sockets, in `notify/`.",
              "x-default": "NAME.sock in paths.runtime",
              examples: ["/run/handoffd/api.sock"],
            }),
          ),
          start: optional(
            commandLine({
              description:
                "Asks someone to start an instance, and returns. Run by the daemon's own user, without a shell, for at most `ready.timeout`; {service}, {generation}, {instance} and {version} are filled in.",
              "x-default": "nobody is asked: the deploy waits for who comes",
              examples: [["systemctl", "start", "app@{generation}-{instance}.service"]],
            }),
          ),
          stop: optional(
            commandLine({
              description:
                "Asks someone to end an instance, in place of drain.signal. Run as `start`, for at most `drain.timeout`.",
              "x-default": "drain.signal is sent",
              examples: [["systemctl", "stop", "app@{generation}-{instance}.service"]],
            }),
          ),
        },
        {
          description:
            "The instances are started by someone else (a unit of systemd, a container), with handoff-exec. What is said here about the process itself (user, group, groups, umask, limits, nice, no_new_privileges, output) is theirs; directory and environment hold.",
        },
      ),
    ),
    restart: optional(
      mapping(
        {
          backoff: optional(
            value("backoff", {
              description: "The first and the longest pause before an instance that exited comes back.",
              default: DEFAULTS.restartBackoff,
            }),
          ),
        },
        { description: "How an instance that exited by itself comes back, on the same slot." },
      ),
    ),
    output: optional(
      text({
        description:
          "Where stdout and stderr go: `inherit`, `journal`, or the absolute path of a file to append to.",
        default: DEFAULTS.output,
      }),
    ),
  },
  { description: "One application." },
);
