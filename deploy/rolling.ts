/**
 * Rolling: instance by instance, both generations serving, for a host that cannot hold both in full.
 *
 *   previous   4 ─ 4 ─ 3 ─ 3 ─ 2 ─ 2 ─ 1 ─ 1 ─ 1       the last go only after their slot's weight is 0: with the bake
 *   candidate  1 ─ 1 ─ 1 ─ 2 ─ 2 ─ 3 ─ 3 ─ 4 ─ 4
 *   weight     0  1/5 1/4 2/5 2/4 3/5 3/4 4/5  1       ready instances of the candidate among all that are ready
 *
 * The candidate's first instance is proved before any weight; then one is added and one taken, and the one that was
 * taken has ended before the next is added. Every position is read off the two generations themselves.
 *
 * The floor holds on the way back too. It is the previous generation alone that serves from the moment the weights are
 * back, so it is never shrunk below the floor, and the host must have room for that many more near the end.
 */
import { follow } from "./course.ts";
import { type Deployment, phaseStartedAt } from "./deployment.ts";
import { readyDueAt } from "./due.ts";
import { allReady, isEnding, type Observation, type Step } from "./fleet.ts";
import { readyTimeout } from "./reasons.ts";
import { bake, enter, finish, sample, type Underway, wait } from "./stage.ts";
import type { Strategy } from "./strategy.ts";

export const rolling: Strategy = follow({
  firstInstances: ({ from, options }) => (from === null ? options.instances : 1),
  shifting,
  baking: bake,
  isFollowing: true,
  restore,
});

function shifting(deployment: Deployment, underway: Underway): Step {
  const { wish, paused, weight, pinned, options } = deployment;
  const { candidate, previous } = underway;
  const isFull = candidate.wanted >= options.instances;
  if (wish === "promote" && !paused) {
    if (!isFull) return resize("candidate", options.instances);
    return allReady(candidate) ? finish(deployment, underway) : grown(deployment, underway);
  }
  const sampling = weight > 0 && wish === null ? sample(deployment, underway) : null;
  if (sampling !== null) return sampling;
  if (paused) return wait(null);
  const least = floorOf(deployment);
  if (isFull && allReady(candidate) && previous.wanted <= least) return finish(deployment, underway);
  const share = candidate.ready / (candidate.ready + previous.ready);
  const isShare = Math.abs(share - candidate.weight) < 1e-6 && Math.abs(share - weight) < 1e-6;
  if (!isShare || candidate.pinned !== pinned) return { do: "weigh", candidate: share, pinned };
  // One after the other: the next needs what this one still has.
  if (previous.leaving > 0) return wait(null);
  const isCrowded = isFull || candidate.wanted + previous.wanted > options.previousInstances;
  if (isCrowded && !allReady(candidate)) return grown(deployment, underway);
  const left = candidate.ready + Math.min(previous.ready, previous.wanted - 1);
  // An instance of the previous generation that is not ready just now may make one more of the candidate necessary.
  if (isCrowded && previous.wanted > least && left >= least) return resize("previous", previous.wanted - 1);
  return isFull ? wait(null) : resize("candidate", candidate.wanted + 1);
}

/** Nobody is ready sooner than it can be, but each instance has its time. */
function grown(deployment: Deployment, underway: Underway): Step {
  const { now, candidate, previous } = underway;
  const deadline = readyDueAt(deployment, deployment.resizedAt ?? phaseStartedAt(deployment), candidate);
  if (now < deadline) return wait(deadline);
  if (previous.ready === 0) return wait(null);
  return enter("rolling-back", readyTimeout(deployment, underway));
}

/** With the weights back: all instances that the previous generation had, and only then does the candidate go. */
function restore(deployment: Deployment, { now, candidate, previous, isLatest }: Observation): Step | null {
  const { resizedAt, options } = deployment;
  if (resizedAt === null || previous === null || isEnding(previous) || !isLatest) return null;
  if (previous.wanted < options.previousInstances) return resize("previous", options.previousInstances);
  if (candidate === null || isEnding(candidate) || allReady(previous)) return null;
  const until = readyDueAt(deployment, resizedAt, previous);
  return now < until ? wait(until) : null;
}

/** How many of the previous generation stay to the end: never none, and enough to serve alone. */
function floorOf({ options }: Deployment): number {
  return Math.max(1, Math.min(options.floor, options.instances, options.previousInstances));
}

function resize(generation: "candidate" | "previous", instances: number): Step {
  return { do: "resize", generation, instances };
}
