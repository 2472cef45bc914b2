/** Blue-green: all new connections at once, the previous generation warm for the bake. */
import { follow } from "./course.ts";
import { bake, finish, wait } from "./stage.ts";
import type { Strategy } from "./strategy.ts";

export const blueGreen: Strategy = follow({
  firstInstances: ({ options }) => options.instances,
  shifting: (deployment, underway) =>
    deployment.paused && deployment.weight < 1 ? wait(null) : finish(deployment, underway),
  baking: bake,
});
