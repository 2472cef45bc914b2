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
import { type Deployment, hasHadUsers, type Phase, phaseStartedAt, type Reason } from "./deployment.ts";
import {
  type CandidateView,
  type GenerationView,
  isEnding,
  isOver,
  type Observation,
  type Step,
} from "./fleet.ts";
import * as reasons from "./reasons.ts";
import type { Strategy } from "./strategy.ts";
import { hasWayBack, isUnwanted } from "./wish.ts";

/** What a plan sees: both generations are there, and the weights are as recorded. */
export interface Underway extends Observation {
  readonly candidate: CandidateView;
  readonly previous: GenerationView;
}

/** What is a strategy's own. A strategy whose start differs too will add its part here. */
export interface Plan {
  readonly shifting: (deployment: Deployment, underway: Underway) => Step;
  readonly baking: (deployment: Deployment, underway: Underway) => Step;
}

export function follow(plan: Plan): Strategy {
  return {
    next(deployment, observation) {
      switch (deployment.phase) {
        case "starting":
          return beforeUsers(deployment, observation) ?? start(deployment, observation);
        case "verifying":
          return beforeUsers(deployment, observation) ?? verify(deployment, observation);
        case "shifting":
          if (hasHadUsers(deployment)) return withUsers(plan, deployment, observation);
          return beforeUsers(deployment, observation) ?? firstUsers(plan, deployment, observation);
        case "baking":
          return withUsers(plan, deployment, observation);
        case "rolling-back":
          return goBack(deployment, observation);
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

/** The bake: the previous generation stays warm for `bakeMs`, longer while paused, no longer once promoted. */
export function bake(deployment: Deployment, { now }: Observation): Step {
  if (deployment.paused) return wait(null);
  const until = phaseStartedAt(deployment) + deployment.options.bakeMs;
  return deployment.wish === "promote" || now >= until ? enter("draining") : wait(until);
}

/** As long as nobody has met the candidate, any doubt ends the deploy. Null: there is none. */
function beforeUsers(deployment: Deployment, observation: Observation): Step | null {
  // A reason that already stands is of an end that a crash interrupted.
  if (deployment.reason !== null) return giveUp(deployment, observation, deployment.reason);
  if (isUnwanted(deployment))
    return giveUp(deployment, observation, reasons.aborted(deployment, observation));
  const { candidate } = observation;
  if (candidate === null) {
    if (deployment.phase === "starting") return null;
    return giveUp(deployment, observation, reasons.candidateLost(deployment, observation));
  }
  if (isEnding(candidate))
    return giveUp(deployment, observation, reasons.candidateFailed(deployment, observation));
  if (candidate.exits > 0)
    return giveUp(deployment, observation, reasons.candidateExited(deployment, observation));
  if (deployment.phase === "shifting" && candidate.ready === 0) {
    return giveUp(deployment, observation, reasons.candidateNotReady(deployment, observation));
  }
  return null;
}

function start(deployment: Deployment, observation: Observation): Step {
  const { now, candidate } = observation;
  const deadline = deployment.startedAt + deployment.options.readyTimeoutMs;
  // Asked first: a daemon that was away does not hold its own absence against a candidate that made it.
  if (candidate !== null && allReady(candidate)) return enter("verifying");
  if (now >= deadline) return giveUp(deployment, observation, reasons.readyTimeout(deployment, observation));
  return candidate === null ? { do: "start" } : wait(deadline);
}

function verify(deployment: Deployment, observation: Observation): Step {
  const { now, candidate } = observation;
  const deadline = phaseStartedAt(deployment) + deployment.options.verifyTimeoutMs;
  const ready = candidate !== null && allReady(candidate);
  if (ready && candidate.verification === "passed") return enter("shifting");
  if (candidate?.verification === "failed") {
    return giveUp(deployment, observation, reasons.verificationFailed(deployment, observation));
  }
  if (now >= deadline) return giveUp(deployment, observation, reasons.verifyTimeout(deployment, observation));
  return ready && candidate.verification === "none" ? { do: "verify" } : wait(deadline);
}

/** The gate. A pause that was asked for early holds here, with the proof recorded and nobody on the candidate. */
function firstUsers(plan: Plan, deployment: Deployment, observation: Observation): Step {
  const waitsForNobody = deployment.from === null || hasWayBack(observation);
  return deployment.paused && waitsForNobody ? wait(null) : withUsers(plan, deployment, observation);
}

function withUsers(plan: Plan, deployment: Deployment, observation: Observation): Step {
  const { now, candidate, previous } = observation;
  if (previous === null || isEnding(previous)) return goForward(deployment, observation);
  const reason = doubt(deployment, observation, previous);
  if (reason !== null) return enter("rolling-back", reason);
  if (candidate === null) return enter("rolling-back", reasons.candidateLost(deployment, observation));
  // Recorded, but the daemon died before it was done.
  if (!same(candidate.weight, deployment.weight)) return { do: "weigh", candidate: deployment.weight };
  const underway = { now, candidate, previous };
  return deployment.phase === "shifting"
    ? plan.shifting(deployment, underway)
    : plan.baking(deployment, underway);
}

/** Why users should leave the candidate for a previous generation that is there to take them; null: they should not. */
function doubt(deployment: Deployment, observation: Observation, previous: GenerationView): Reason | null {
  if (deployment.wish === "abort") return reasons.aborted(deployment, observation);
  if (deployment.wish === "rollback") return reasons.rolledBack(deployment, observation);
  const { candidate } = observation;
  if (candidate === null) return reasons.candidateLost(deployment, observation);
  if (isEnding(candidate)) return reasons.candidateFailed(deployment, observation);
  const { watchExits } = deployment.options;
  // Some exits of a candidate that still serves are better than a previous generation that does not just now.
  const isWorse = watchExits > 0 && candidate.exits >= watchExits && previous.ready > 0;
  if (isWorse) return reasons.candidateExited(deployment, observation);
  return candidate.ready === 0 ? reasons.candidateNotReady(deployment, observation) : null;
}

/**
 * All to the candidate, because there is no other. A first start goes this way too: no generation that could bake
 * and none to drain, so it has succeeded when the candidate has the weight.
 */
function goForward(deployment: Deployment, observation: Observation): Step {
  const { candidate } = observation;
  if (candidate === null || isEnding(candidate)) {
    // Its weight stays: there is no one to take it, and the queue that holds the connections is its own.
    return enter("failed", reasons.nothingLeft(deployment, observation));
  }
  if (candidate.weight < 1 || deployment.weight < 1) return { do: "weigh", candidate: 1 };
  if (deployment.from === null) return enter("succeeded");
  return deployment.phase === "shifting"
    ? enter("baking")
    : enter("draining", reasons.previousEnded(deployment));
}

function goBack(deployment: Deployment, observation: Observation): Step {
  const { candidate } = observation;
  if (hasWeight(deployment, candidate) && !hasWayBack(observation)) return goForward(deployment, observation);
  const removal = remove(deployment, candidate, deployment.reason);
  if (removal !== null) return removal;
  if (candidate !== null && !isOver(candidate.state)) return wait(null);
  return enter(reasons.isAbort(deployment.reason) ? "aborted" : "rolled-back");
}

/**
 * The candidate has done its part and is the service's current generation; another deploy may be moving users away
 * from it already. So its weight is none of our business here, and is put right only if the previous one has some.
 */
function drain({ previous }: Observation): Step {
  if (previous === null || isOver(previous.state)) return enter("succeeded");
  if (previous.weight > 0) return { do: "weigh", candidate: 1 };
  return isEnding(previous) ? wait(null) : { do: "retire", generation: "previous", reason: null };
}

/** Ends a deploy whose candidate nobody has met. The candidate's own end goes on without the deploy. */
function giveUp(deployment: Deployment, { candidate }: Observation, reason: Reason): Step {
  return (
    remove(deployment, candidate, reason) ?? enter(reasons.isAbort(reason) ? "aborted" : "failed", reason)
  );
}

/** What is left to do to be rid of the candidate: its weight goes first, always. Null: it is ending or is not there. */
function remove(deployment: Deployment, candidate: CandidateView | null, reason: Reason | null): Step | null {
  if (hasWeight(deployment, candidate)) return { do: "weigh", candidate: 0 };
  return candidate === null || isEnding(candidate) ? null : { do: "retire", generation: "candidate", reason };
}

/** Of a candidate that cannot be found the record must do: its slot may have the weight that is written there. */
function hasWeight(deployment: Deployment, candidate: CandidateView | null): boolean {
  return (candidate?.weight ?? deployment.weight) > 0;
}

function allReady({ ready, wanted }: GenerationView): boolean {
  return ready >= wanted;
}

/** Whether the kernel's share is the recorded one, but for what its own unit rounds away. */
function same(kernel: number, recorded: number): boolean {
  return Math.abs(kernel - recorded) < 0.001;
}

function enter(phase: Phase, reason: Reason | null = null): Step {
  return { do: "enter", phase, reason };
}

function wait(until: number | null): Step {
  return { do: "wait", until };
}
