/** How a deploy goes, and when it goes back. */
import { Optional as optional, Type } from "@sinclair/typebox";
import { MAX_NETWORKS } from "../../handoff/network.ts";
import { DEFAULTS } from "./defaults.ts";
import { commandLine, flag, list, mapping, oneOf, text, value, weight, whole } from "./schema-values.ts";

const number = (words: { readonly description: string }) =>
  Type.Number({ "x-expected": "a number", ...words });

const AnalysisSchema = mapping(
  {
    prometheus: optional(
      value("prometheus-url", {
        description: "The URL of a Prometheus server, with `query` and `max` or `min`.",
      }),
    ),
    query: optional(
      text({
        description:
          "A PromQL expression. `{version}`, `{generation}` and `{service}` are filled in, so that it can be about the candidate alone. Of several series the worst counts.",
        examples: ['sum(rate(http_errors_total{version="{version}"}[1m]))'],
      }),
    ),
    max: optional(number({ description: "The largest result that is good." })),
    min: optional(number({ description: "The smallest result that is good." })),
    command: optional(
      commandLine({
        description:
          "In place of a query: a command that exits with 0 when all is well. It runs as those of `verify` do.",
      }),
    ),
    every: optional(
      value("duration", { description: "Between two samples.", default: DEFAULTS.analysisEvery }),
    ),
    samples: optional(
      whole(1, 1000, {
        description: "So many good ones are needed in each step and in the bake. One bad one goes back.",
        default: DEFAULTS.analysisSamples,
      }),
    ),
    no_data: optional(
      oneOf(["wait", "pass", "fail"], {
        description:
          "What as many samples in a row without a result mean: go back at the deadline, good, or go back now.",
        default: DEFAULTS.analysisNoData,
      }),
    ),
    deadline: optional(
      value("duration", {
        description: "For so long a step, or the bake, may be without a verdict.",
        default: DEFAULTS.analysisDeadline,
      }),
    ),
    timeout: optional(
      value("duration", {
        description: "For one sample. One that takes longer is without a result.",
        default: DEFAULTS.analysisTimeout,
      }),
    ),
  },
  { description: "Measurements that decide whether the candidate goes on." },
);

const StepSchema = mapping(
  {
    weight: weight({
      description:
        "The candidate's share of new connections, below 100 %. 0 is for a first step in which `pin` alone reaches it.",
    }),
    for: optional(
      value("duration", {
        description: "How long the step lasts. Not with `pause`.",
        default: DEFAULTS.stepFor,
      }),
    ),
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
        "x-default": "canary: 5% for 1m, then 50% for 5m",
        minItems: 1,
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
        // One program in the kernel has room for so many.
        maxItems: MAX_NETWORKS,
      }),
    ),
    bake: optional(
      value("duration", {
        description: "How long the previous generation stays warm after 100 %, for an instant way back.",
        default: DEFAULTS.bake,
      }),
    ),
    floor: optional(
      whole(1, 1024, {
        description: "rolling: never fewer serving instances. At most `instances`.",
        "x-default": `rolling: ${DEFAULTS.floor}`,
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
