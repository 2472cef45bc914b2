/** Blue-green: all new connections at once, the previous generation warm for the bake. */
import { bake, follow } from "./course.ts";
import type { Strategy } from "./strategy.ts";

export const blueGreen: Strategy = follow({
  shifting: (_deployment, { candidate }) =>
    candidate.weight < 1 ? { do: "weigh", candidate: 1 } : { do: "enter", phase: "baking", reason: null },
  baking: bake,
});
