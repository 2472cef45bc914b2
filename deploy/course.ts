/**
 * What every strategy has in common: how a candidate is started and proved, and every way in which a deploy ends.
 * A strategy's own part, its Plan, is only asked while all is well.
 *
 * Every step is decided from the observation, never from what was done before: the daemon may have died between any
 * two acts, or in the middle of one.
 *
 * No way back. A deploy never moves users to a generation that has ended. When the previous one ends while the
 * candidate has users, or could have them, the candidate takes everything (a pause included: holding would keep users
 * waiting at a dead generation), the bake has lost its meaning, and the deploy succeeds with DEPLOY_PREVIOUS_ENDED. So
 * does one that had been asked to go back, if it had not yet: new wishes of that kind are refused by wish.ts.
 * Once the weights are back with the previous generation the way back is done. If it ends after that, it is a
 * generation that failed as any other, and the service restarts it; to move users yet again to a candidate that was
 * just found wanting would be to guess.
 */
import { type Deployment, hasHadUsers } from "./deployment.ts";
import { doubt, nextDoubtAt } from "./doubt.ts";
import { type CandidateView, isEnding, isOver, type Observation, type Step } from "./fleet.ts";
import { beforeUsers, giveUp, hasWeight, retire, start, takeWeight, verify } from "./proof.ts";
import * as reasons from "./reasons.ts";
import { enter, type Underway, wait } from "./stage.ts";
import type { Strategy } from "./strategy.ts";
import { hasWayBack } from "./wish.ts";

/** What is a strategy's own. */
export interface Plan {
  /** How many instances the candidate begins with. */
  readonly firstInstances: (deployment: Deployment) => number;
  readonly shifting: (deployment: Deployment, underway: Underway) => Step;
  readonly baking: (deployment: Deployment, underway: Underway) => Step;
  /** While shifting it sees to the weight itself: one that was recorded before a crash may be too much by now. */
  readonly isFollowing?: boolean;
  /** What the previous generation needs, once it has the weight again, before the candidate goes. Null: nothing more. */
  readonly restore?: (deployment: Deployment, observation: Observation) => Step | null;
}

export function follow(plan: Plan): Strategy {
  return {
    next(deployment, observation) {
      switch (deployment.phase) {
        case "starting":
          return (
            beforeUsers(deployment, observation, giveUp) ??
            start(deployment, observation, plan.firstInstances(deployment))
          );
        case "verifying":
          return beforeUsers(deployment, observation, giveUp) ?? verify(deployment, observation, giveUp);
        case "shifting":
          if (hasHadUsers(deployment)) return withUsers(plan, deployment, observation);
          return beforeUsers(deployment, observation, giveUp) ?? firstUsers(plan, deployment, observation);
        case "baking":
          return withUsers(plan, deployment, observation);
        case "rolling-back":
          return goBack(plan, deployment, observation);
        case "draining":
          return drain(observation);
        case "succeeded":
        case "rolled-back":
        case "failed":
        case "aborted":
          return wait(null);
      }
    },
  };
}

/**
 * The gate. The pinned networks pass it as soon as the proof is recorded, and are users as any other from then on; a
 * pause that was asked for early holds here, with nobody else on the candidate.
 */
function firstUsers(plan: Plan, deployment: Deployment, observation: Observation): Step {
  const isNeeded = deployment.from !== null && !hasWayBack(deployment, observation);
  if (deployment.options.hasPins && hasWayBack(deployment, observation))
    return { do: "weigh", candidate: 0, pinned: true };
  return deployment.paused && !isNeeded ? wait(null) : withUsers(plan, deployment, observation);
}

function withUsers(plan: Plan, deployment: Deployment, observation: Observation): Step {
  const { candidate, previous } = observation;
  if (previous === null || isEnding(previous)) return goForward(deployment, observation);
  const reason = doubt(deployment, observation, previous.ready > 0);
  if (reason !== null) return enter("rolling-back", reason);
  if (candidate === null) return enter("rolling-back", reasons.candidateLost(deployment, observation));
  // Recorded, but the daemon died before it was done.
  const isPlans = deployment.phase === "shifting" && plan.isFollowing === true;
  if (!isPlans && !isAsRecorded(deployment, candidate))
    return { do: "weigh", candidate: deployment.weight, pinned: deployment.pinned };
  const underway = { ...observation, candidate, previous };
  const step =
    deployment.phase === "shifting" ? plan.shifting(deployment, underway) : plan.baking(deployment, underway);
  return step.do === "wait" ? wait(earlier(step.until, nextDoubtAt(deployment, observation))) : step;
}

/**
 * All to the candidate, because there is no other. A first start goes this way too: no generation that could bake
 * and none to drain, so it has succeeded when the candidate has the weight.
 */
function goForward(deployment: Deployment, observation: Observation): Step {
  const { candidate } = observation;
  const { pinned, options } = deployment;
  if (candidate === null || isEnding(candidate)) {
    // Its weight stays: there is no one to take it, and the queue that holds the connections is its own.
    return enter("failed", reasons.nothingLeft(deployment, observation));
  }
  if (candidate.weight < 1 || deployment.weight < 1) return { do: "weigh", candidate: 1, pinned };
  if (candidate.wanted < options.instances)
    return { do: "resize", generation: "candidate", instances: options.instances };
  if (deployment.from === null) return enter("succeeded");
  return deployment.phase === "shifting"
    ? enter("baking")
    : enter("draining", reasons.previousEnded(deployment));
}

function goBack(plan: Plan, deployment: Deployment, observation: Observation): Step {
  const { candidate } = observation;
  if (hasWeight(deployment, candidate))
    return hasWayBack(deployment, observation) ? takeWeight : goForward(deployment, observation);
  const restoring = plan.restore?.(deployment, observation) ?? null;
  if (restoring !== null) return restoring;
  if (candidate !== null && !isEnding(candidate)) return retire("candidate", deployment.reason);
  if (candidate !== null && !isOver(candidate.state)) return wait(null);
  return enter(reasons.isAbort(deployment.reason) ? "aborted" : "rolled-back");
}

/**
 * The candidate has done its part and is the service's current generation; another deploy may be moving users away
 * from it already. So its weight is none of our business here, and is put right only if the previous one has some.
 */
export function drain({ candidate, previous }: Observation): Step {
  if (previous === null || isOver(previous.state)) return enter("succeeded");
  if (previous.weight > 0) return { do: "weigh", candidate: 1, pinned: candidate?.pinned ?? false };
  return isEnding(previous) ? wait(null) : retire("previous", null);
}

/** Whether the kernel has what is recorded, but for what its own unit rounds away; nothing and something are never alike. */
function isAsRecorded(deployment: Deployment, candidate: CandidateView): boolean {
  const isNear = Math.abs(candidate.weight - deployment.weight) < 0.0002;
  const isSameKind = candidate.weight > 0 === deployment.weight > 0;
  return isNear && isSameKind && candidate.pinned === deployment.pinned;
}

function earlier(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other);
}
