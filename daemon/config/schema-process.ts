/** Who a process is and what it may use. */
import { Optional as optional, Type } from "@sinclair/typebox";
import { either, mapping, text, whole } from "./schema-values.ts";

/** Who: one key is enough; whoever matches one of several is meant. */
export const PrincipalSchema = mapping(
  {
    uid: optional(whole(0, 4294967294, { description: "A user by number." })),
    user: optional(text({ description: "A user by name." })),
    gid: optional(whole(0, 4294967294, { description: "A group by number." })),
    group: optional(text({ description: "A group by name." })),
  },
  {
    minProperties: 1,
    description: "Who is meant: at least one of these keys; whoever matches one of them is.",
  },
);

const NAMES = [
  "as",
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
] as const;

function limitValue(description: string) {
  return either(
    [Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), Type.Literal("infinity")],
    'a whole number or "infinity"',
    { description },
  );
}

const LimitSchema = either(
  [
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    Type.Literal("infinity"),
    mapping(
      {
        soft: limitValue("The limit that is enforced."),
        hard: limitValue("How far the process may raise the soft limit itself."),
      },
      { description: "Different soft and hard limits." },
    ),
  ],
  'a whole number, "infinity", or both limits as in {soft: 1024, hard: 65536}',
  { description: "The soft and the hard limit; a single value is both." },
);

type LimitName = (typeof NAMES)[number];
const optionalLimit = optional(LimitSchema);

export const LimitsSchema = mapping(
  Object.fromEntries(NAMES.map((name) => [name, optionalLimit])) as Record<LimitName, typeof optionalLimit>,
  { description: "Resource limits, as in getrlimit(2).", examples: [{ nofile: 65536 }] },
);
