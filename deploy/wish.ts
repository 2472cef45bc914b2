/** What may be asked of a deploy, and when. Asking only writes it down: the strategy decides what follows. */
import { type Deployment, hasHadUsers, isActive, isTerminal, type Wish } from "./deployment.ts";
import { alreadyEnded, noWayBack, notShifted, rollingBack, tooLate } from "./errors.ts";
import { isEnding, type Observation } from "./fleet.ts";

/**
 * The deployment with the wish written down. A promotion asked early is remembered and skips the rest of the steps
 * and the bake, never the proof. A wish is also the end of a pause: who asks for more or for an end does not want to
 * be held. Throws the refusal as a CodedError.
 */
export function wish(deployment: Deployment, asked: Wish, observation: Observation): Deployment {
  refuseUnlessActive(deployment);
  if (!hasHadUsers(deployment)) {
    if (asked === "rollback") throw notShifted(deployment);
  } else if (asked !== "promote" && !hasWayBack(observation)) {
    // Going "back" would move every new connection from a living generation to a dead one's queue.
    throw noWayBack(deployment);
  }
  return { ...deployment, wish: asked, paused: false };
}

/** Holds the deploy at the step it has reached, or lets it go on. Doing either twice is no error. */
export function setPaused(deployment: Deployment, paused: boolean): Deployment {
  refuseUnlessActive(deployment);
  return { ...deployment, paused };
}

/** Whether there is a living generation to go back to. That its instances are ready just now is not asked. */
export function hasWayBack({ previous }: Observation): boolean {
  return previous !== null && !isEnding(previous);
}

/** Whether someone asked that the candidate go. */
export function isUnwanted(deployment: Deployment): boolean {
  return deployment.wish === "abort" || deployment.wish === "rollback";
}

function refuseUnlessActive(deployment: Deployment): void {
  if (isActive(deployment)) return;
  if (isTerminal(deployment)) throw alreadyEnded(deployment);
  throw deployment.phase === "draining" ? tooLate(deployment) : rollingBack(deployment);
}
