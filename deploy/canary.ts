/**
 * Canary: a growing share of new connections, step by step.
 *
 *   gate ─▶ step 0 ─▶ step 1 ─▶ … ─▶ all ─▶ bake
 *
 * A step is recorded before its weight is given. It is left when its time is over or someone continues, and stage.ts has
 * nothing against it; a step with `pause` is recorded as paused, so that a pause is one thing whoever began it.
 */
import { follow } from "./course.ts";
import type { Deployment } from "./deployment.ts";
import { stepDueAt } from "./due.ts";
import type { Step } from "./fleet.ts";
import { bake, finish, stay, type Underway, wait } from "./stage.ts";
import type { Strategy } from "./strategy.ts";

export const canary: Strategy = follow({
  firstInstances: ({ options }) => options.instances,
  shifting,
  baking: bake,
});

function shifting(deployment: Deployment, underway: Underway): Step {
  const { step, paused, weight, wish, options } = deployment;
  // Everything was asked for: the steps are behind it.
  if (weight === 1) return finish(deployment, underway);
  if (step === null && paused) return wait(null);
  const staying = step === null ? null : stay(deployment, underway, stepDueAt(deployment, step));
  if (staying !== null) return staying;
  const next = step === null ? 0 : step.index + 1;
  return next < options.steps.length && wish !== "promote"
    ? { do: "reach", step: next }
    : finish(deployment, underway);
}
