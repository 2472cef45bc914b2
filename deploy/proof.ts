/**
 * From the start of a candidate to its passed verification: nobody is sent its way meanwhile, and any doubt ends the
 * deploy. How it ends then is the strategy's to say: recreate cannot simply leave things as they are.
 */
import { type Deployment, phaseStartedAt, type Reason } from "./deployment.ts";
import { readyDueAt } from "./due.ts";
import { allReady, type CandidateView, isEnding, type Observation, type Party, type Step } from "./fleet.ts";
import * as reasons from "./reasons.ts";
import { enter, wait } from "./stage.ts";
import { isUnwanted } from "./wish.ts";

export type GiveUp = (deployment: Deployment, observation: Observation, reason: Reason) => Step;

/** As long as nobody has met the candidate, any doubt ends the deploy. Null: there is none. */
export function beforeUsers(deployment: Deployment, observation: Observation, giveUp: GiveUp): Step | null {
  // A reason that already stands is of an end that a crash interrupted.
  const reason = deployment.reason ?? doubt(deployment, observation);
  return reason === null ? null : giveUp(deployment, observation, reason);
}

function doubt(deployment: Deployment, observation: Observation): Reason | null {
  if (isUnwanted(deployment)) {
    return deployment.wish === "rollback"
      ? reasons.rolledBack(deployment, observation)
      : reasons.aborted(deployment, observation);
  }
  const { candidate } = observation;
  if (candidate === null) {
    return deployment.phase === "starting" ? null : reasons.candidateLost(deployment, observation);
  }
  if (isEnding(candidate)) return reasons.candidateFailed(deployment, observation);
  if (candidate.exits > 0) return reasons.candidateExited(deployment, observation);
  const isUnready = deployment.phase === "shifting" && candidate.ready === 0;
  return isUnready ? reasons.candidateNotReady(deployment, observation) : null;
}

export function start(deployment: Deployment, observation: Observation, instances: number): Step {
  const { candidate, now } = observation;
  if (candidate !== null) return becomeReady(deployment, observation, deployment.startedAt, giveUp);
  const deadline = deployment.startedAt + deployment.options.readyTimeoutMs;
  if (now >= deadline) return giveUp(deployment, observation, reasons.readyTimeout(deployment, observation));
  return { do: "start", instances };
}

/** `since`: when the candidate's instances were asked for. */
export function becomeReady(
  deployment: Deployment,
  observation: Observation,
  since: number,
  giveUp: GiveUp,
): Step {
  const { candidate, now } = observation;
  // Asked first: a daemon that was away does not hold its own absence against a candidate that made it.
  if (candidate !== null && allReady(candidate)) return enter("verifying");
  const deadline = readyDueAt(deployment, since, candidate);
  if (now < deadline) return wait(deadline);
  return giveUp(deployment, observation, reasons.readyTimeout(deployment, observation));
}

export function verify(deployment: Deployment, observation: Observation, giveUp: GiveUp): Step {
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

/** Ends a deploy whose candidate nobody has met. The candidate's own end goes on without the deploy. */
export function giveUp(deployment: Deployment, { candidate }: Observation, reason: Reason): Step {
  if (hasWeight(deployment, candidate)) return takeWeight;
  if (candidate !== null && !isEnding(candidate)) return retire("candidate", reason);
  return enter(reasons.isAbort(reason) ? "aborted" : "failed", reason);
}

/** Nobody reaches the candidate any more. It is always the first act of its end. */
export const takeWeight: Step = { do: "weigh", candidate: 0, pinned: false };

/** Of a candidate that cannot be found the record must do: its slot may have the weight that is written there. */
export function hasWeight(deployment: Deployment, candidate: CandidateView | null): boolean {
  return (candidate?.weight ?? deployment.weight) > 0 || (candidate?.pinned ?? deployment.pinned);
}

export function retire(generation: Party, reason: Reason | null): Step {
  return { do: "retire", generation, reason };
}
