/** What may be asked of a deploy, and when. Asking only writes it down: the strategy decides what follows. */
import { type Deployment, hasHadUsers, isTerminal, isUnderway, type Wish } from "./deployment.ts";
import { alreadyEnded, noWayBack, notShifted, rollingBack, tooLate } from "./errors.ts";
import { isEnding, type Observation } from "./fleet.ts";

/**
 * The deployment with the wish written down. A promotion asked early is remembered and skips the rest of the steps
 * and the bake, never the proof. A wish is also the end of a pause: who asks for more or for an end does not want to
 * be held. Throws the refusal as a CodedError.
 */
export function wish(deployment: Deployment, asked: Wish, observation: Observation): Deployment {
  refuseUnlessUnderway(deployment);
  if (!hasHadUsers(deployment)) {
    if (asked === "rollback") throw notShifted(deployment);
  } else if (asked !== "promote" && !hasWayBack(deployment, observation)) {
    // Going "back" would move every new connection from a living generation to a dead one's queue.
    throw noWayBack(deployment);
  }
  return { ...deployment, wish: asked, paused: false };
}

/**
 * Holds the deploy at the step it has reached, or lets it go on: from a canary's step to the next one at once, whatever
 * is left of its time. Doing either twice is no error, and to continue what is not held goes nowhere.
 */
export function setPaused(deployment: Deployment, paused: boolean, now: number): Deployment {
  refuseUnlessUnderway(deployment);
  const { step } = deployment;
  const isReleased = deployment.paused && !paused && deployment.phase === "shifting" && step !== null;
  if (!isReleased) return { ...deployment, paused };
  return { ...deployment, paused, step: { ...step, continuedAt: Math.max(now, step.since) } };
}

/**
 * Whether there is something to go back to: a living generation (that its instances are ready just now is not asked),
 * or under recreate a release that can be started again.
 */
export function hasWayBack({ strategy, from, options }: Deployment, { previous }: Observation): boolean {
  if (strategy === "recreate" && from !== null && options.fallsBack) return true;
  return previous !== null && !isEnding(previous);
}

/** Whether someone asked that the candidate go. */
export function isUnwanted(deployment: Deployment): boolean {
  return deployment.wish === "abort" || deployment.wish === "rollback";
}

function refuseUnlessUnderway(deployment: Deployment): void {
  if (isUnderway(deployment)) return;
  if (isTerminal(deployment)) throw alreadyEnded(deployment);
  throw deployment.phase === "draining" ? tooLate(deployment) : rollingBack(deployment);
}
