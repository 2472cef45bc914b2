/** What proves that a process, or a whole generation, can serve. */
import { Optional as optional, Type, type Static, type TObject, type TUnsafe } from "@sinclair/typebox";
import { DEFAULTS } from "./defaults.ts";
import { commandLine, mapping, text, value, whole } from "./schema-values.ts";

const proofTimeout = value("duration", {
  description: "How long an instance may take to become ready, from its start.",
  default: DEFAULTS.readyTimeout,
});
const httpListener = text({
  description: "The service's listener that is asked.",
  "x-default": "the service's first",
});
const httpPath = Type.String({
  pattern: "^/[!-~]*$",
  "x-expected": 'the path of a URL, beginning with "/" and without spaces, such as "/healthz"',
  description: "The path of the request.",
});
const httpExpect = whole(100, 599, {
  description: "The status that the answer must have.",
  default: DEFAULTS.httpExpect,
});

const ReadyBySchemas = [
  mapping(
    { by: Type.Literal("notify"), timeout: optional(proofTimeout) },
    { description: "The instance says READY=1 on NOTIFY_SOCKET (sd_notify(3)). Proves each instance." },
  ),
  mapping(
    {
      by: Type.Literal("listening"),
      listener: optional(httpListener),
      timeout: optional(proofTimeout),
    },
    {
      description:
        "A connection of the daemon's own was accepted by the generation. Needs nothing from the application; proves the generation.",
    },
  ),
  mapping(
    {
      by: Type.Literal("http"),
      listener: optional(httpListener),
      path: httpPath,
      expect: optional(httpExpect),
      timeout: optional(proofTimeout),
    },
    { description: "A GET request was answered with the expected status. Proves the generation." },
  ),
  mapping(
    {
      by: Type.Literal("delay"),
      after: value("duration", { description: "How long the instance must have run." }),
      timeout: optional(
        value("duration", {
          description: "Must be longer than `after`.",
          "x-default": "30s more than after",
        }),
      ),
    },
    {
      description:
        "The instance has run for a while. Proves next to nothing; for programs that cannot do better.",
    },
  ),
] as const satisfies readonly TObject[];

/** `oneOf` with a discriminator: a mistake is reported for the chosen kind only, and editors complete its keys. */
export const ReadySchema: TUnsafe<Static<(typeof ReadyBySchemas)[number]>> = Type.Unsafe({
  type: "object",
  discriminator: { propertyName: "by" },
  required: ["by"],
  oneOf: ReadyBySchemas,
  "x-expected": "a mapping such as { by: notify, timeout: 30s }",
  description: "What proves that a new instance can serve.",
  default: { by: DEFAULTS.ready },
});

export const VerifySchema = mapping(
  {
    http: optional(
      mapping(
        {
          listener: optional(httpListener),
          path: httpPath,
          expect: optional(httpExpect),
          count: optional(
            whole(1, 1000, {
              description: "How many requests must be answered as expected, one after the other.",
              default: DEFAULTS.verifyCount,
            }),
          ),
        },
        { description: "Requests to the candidate, through the real listener." },
      ),
    ),
    command: optional(
      commandLine({
        description:
          "A command that must exit with 0. It runs as the service's user, with HANDOFF_PROBE_ADDRESS, HANDOFF_PROBE_SOURCE and HANDOFF_VERSION.",
      }),
    ),
    timeout: optional(
      value("duration", { description: "For the whole of this check.", default: DEFAULTS.verifyTimeout }),
    ),
  },
  { description: "One check: `http` or `command`, and not both." },
);
