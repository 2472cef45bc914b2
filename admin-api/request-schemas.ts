/** What a request may say: its parameters, its query and its body. What is answered is schemas.ts. */
import { type Static, Type } from "@sinclair/typebox";

import { StrategyName, VERSION_PATTERN } from "./schemas.ts";

const duration = Type.String({
  pattern: "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$",
  description: 'a duration as "30s" or "1m30s"',
});

export const CanaryStep = Type.Object(
  {
    weight: Type.Union(
      [Type.Number({ minimum: 0, maximum: 1 }), Type.String({ pattern: "^(100|[0-9]{1,2}(\\.[0-9]+)?)%$" })],
      { description: 'a share from 0 to 1, or a percentage as "5%"' },
    ),
    for: Type.Optional(duration),
    pause: Type.Optional(Type.Boolean({ description: "Stay at this step until `continue`" })),
  },
  { additionalProperties: false },
);
export type CanaryStep = Static<typeof CanaryStep>;

/** A caller chooses a version and how to get there, never a command: commands come from the configuration. */
export const DeployRequest = Type.Object(
  {
    version: Type.Optional(
      Type.String({
        pattern: VERSION_PATTERN,
        description: 'at most 128 letters, digits, ".", "_" and "-", the first one a letter or a digit',
      }),
    ),
    strategy: Type.Optional(StrategyName),
    steps: Type.Optional(Type.Array(CanaryStep, { minItems: 1, maxItems: 64 })),
    bake: Type.Optional(duration),
  },
  { additionalProperties: false },
);
export type DeployRequest = Static<typeof DeployRequest>;

export const DeployQuery = Type.Object(
  {
    service: Type.Optional(Type.String({ minLength: 1 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 20 })),
    before: Type.Optional(
      Type.String({ minLength: 1, description: "The `next` of the page before, or a deploy's id" }),
    ),
  },
  { additionalProperties: false },
);
export type DeployQuery = Static<typeof DeployQuery>;

export const WaitQuery = Type.Object(
  {
    wait: Type.Optional(
      Type.String({
        pattern: "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$",
        description:
          'a duration as "30s", at most 60s: the answer comes after the next change, or when it is over',
      }),
    ),
  },
  { additionalProperties: false },
);
export type WaitQuery = Static<typeof WaitQuery>;

export const GenerationParams = Type.Object({ service: Type.String(), number: Type.Integer({ minimum: 1 }) });
export type GenerationParams = Static<typeof GenerationParams>;

export const HoldRequest = Type.Object(
  {
    idle: Type.Boolean({
      default: false,
      description:
        "true: the generation that serves goes on running without new connections; false: it drains and ends",
    }),
  },
  { additionalProperties: false },
);
export type HoldRequest = Static<typeof HoldRequest>;

export const ScaleRequest = Type.Object(
  { instances: Type.Integer({ minimum: 1, maximum: 1024, description: "How many instances are to run" }) },
  { additionalProperties: false },
);
export type ScaleRequest = Static<typeof ScaleRequest>;

/** The body of a request that says everything by its path. */
export const NoBody = Type.Object({}, { additionalProperties: false });

export const EventsQuery = Type.Object(
  {
    since: Type.Optional(
      Type.Integer({ minimum: 0, description: "Begin after the event with this id; 0: all that is kept" }),
    ),
    follow: Type.Boolean({ default: true, description: "false: end after what is kept" }),
  },
  { additionalProperties: false },
);
export type EventsQuery = Static<typeof EventsQuery>;
