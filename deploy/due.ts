/** When a deploy goes on by the clock alone: what its strategy waits for, and what people are shown as time left. */
import { type Deployment, phaseStartedAt, type StepRecord } from "./deployment.ts";
import type { GenerationView } from "./fleet.ts";

/** How long instances that were asked for at `since` are waited for. */
export function readyDueAt(
  { options }: Pick<Deployment, "options">,
  since: number,
  generation: Pick<GenerationView, "startsUntil"> | null,
): number {
  return Math.max(since + options.readyTimeoutMs, generation?.startsUntil ?? 0);
}

/** The end of the bake, unless something holds it longer. */
export function bakeDueAt(deployment: Deployment): number {
  return phaseStartedAt(deployment) + deployment.options.bakeMs;
}

/** The end of a canary's step. Who continues ends it at once. */
export function stepDueAt({ options }: Deployment, { index, since, continuedAt }: StepRecord): number {
  return continuedAt ?? since + (options.steps[index]?.forMs ?? 0);
}

/**
 * Until when the deploy stays where it is if nothing else happens: then the phase or the step is over, or, while it starts or is
 * verified, given up. null where time alone changes nothing: paused, promoted, draining (its generation has a deadline), ended.
 */
export function dueAt(deployment: Deployment): number | null {
  const { phase, paused, wish, weight, step, options } = deployment;
  if (phase === "starting") return (deployment.resizedAt ?? deployment.startedAt) + options.readyTimeoutMs;
  if (phase === "verifying") return phaseStartedAt(deployment) + options.verifyTimeoutMs;
  if (paused || wish !== null) return null;
  if (phase === "baking") return bakeDueAt(deployment);
  return phase === "shifting" && step !== null && weight < 1 ? stepDueAt(deployment, step) : null;
}
