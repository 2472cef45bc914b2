/** How a deploy goes, and when it goes back. */
import { Optional as optional, Type } from "@sinclair/typebox";
import { DEFAULTS } from "./defaults.ts";
import { commandLine, flag, list, mapping, oneOf, text, value, whole } from "./schema-values.ts";

const AnalysisSchema = mapping(
  {
    prometheus: optional(text({ description: "The URL of a Prometheus server, with `query` and `max`." })),
    query: optional(text({ description: "A PromQL expression with one number as its result." })),
    max: optional(Type.Number({ "x-expected": "a number", description: "The largest result that is good." })),
    command: optional(
      commandLine({ description: "In place of a query: a command that exits with 0 when all is well." }),
    ),
    every: optional(
      value("duration", { description: "Between two samples.", default: DEFAULTS.analysisEvery }),
    ),
    samples: optional(
      whole(1, 1000, {
        description: "How many must be good, one after the other.",
        default: DEFAULTS.analysisSamples,
      }),
    ),
    no_data: optional(
      oneOf(["wait", "pass", "fail"], {
        description: "What a sample without a result means.",
        default: DEFAULTS.analysisNoData,
      }),
    ),
    deadline: optional(
      value("duration", {
        description: "Until when the verdict must be there.",
        default: DEFAULTS.analysisDeadline,
      }),
    ),
  },
  { description: "Measurements that decide whether the candidate goes on." },
);

const StepSchema = mapping(
  {
    weight: value("weight", { description: "The candidate's share of new connections." }),
    for: optional(value("duration", { description: "How long the step lasts.", default: DEFAULTS.stepFor })),
    pause: optional(
      flag({ description: "Stay at this step until someone continues.", default: DEFAULTS.stepPause }),
    ),
  },
  { description: "One step of a canary." },
);

export const DeploySchema = mapping(
  {
    strategy: optional(
      oneOf(["blue-green", "canary", "rolling", "recreate"], {
        description: "How a new version takes over.",
        default: DEFAULTS.strategy,
      }),
    ),
    steps: optional(
      list(StepSchema, {
        description: "canary: the steps, with increasing weights; 100 % follows the last.",
        default: DEFAULTS.steps,
      }),
    ),
    share: optional(
      oneOf(["random", "sticky"], {
        description: "random draws per connection; sticky keeps a client address with one generation.",
        default: DEFAULTS.share,
      }),
    ),
    pin: optional(
      list(value("network", { description: "A network, such as 10.1.0.0/16." }), {
        description: "Clients of these networks reach the candidate as soon as it has passed verification.",
        default: [],
      }),
    ),
    bake: optional(
      value("duration", {
        description: "How long the previous generation stays warm after 100 %, for an instant way back.",
        default: DEFAULTS.bake,
      }),
    ),
    floor: optional(
      whole(0, 1024, {
        description: "rolling: never fewer serving instances. At most `instances`.",
        default: DEFAULTS.floor,
      }),
    ),
    watch: optional(
      mapping(
        {
          exits: optional(
            whole(0, 1000, {
              description:
                "So many unexpected exits of the candidate's instances mean going back; 0: not watched.",
              default: DEFAULTS.watchExits,
            }),
          ),
          queue: optional(
            value("duration", {
              description:
                "A candidate's queue that is not empty for so long means going back; 0s: not watched.",
              default: DEFAULTS.watchQueue,
            }),
          ),
        },
        { description: "What takes a deploy back by itself, from the shift to the end of the bake." },
      ),
    ),
    analysis: optional(AnalysisSchema),
  },
  { description: "How a deploy goes." },
);
