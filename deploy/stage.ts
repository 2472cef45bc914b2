/** A stage is what users meet the candidate in for a while: a canary's step, or the bake. */
import { type Deployment, type Phase, type Reason, stageStartedAt } from "./deployment.ts";
import { currentAnalysis, isConvincing } from "./doubt.ts";
import { bakeDueAt } from "./due.ts";
import type { CandidateView, GenerationView, Observation, Step } from "./fleet.ts";

/** What a plan sees: both generations are there, and the weights, unless it follows them itself, are as recorded. */
export interface Underway extends Observation {
  readonly candidate: CandidateView;
  readonly previous: GenerationView;
}

/** The part of it that is needed to leave a stage: recreate's previous generation has ended. */
type Staged = Observation & Pick<Underway, "candidate">;

/** The bake: what can be gone back to is kept for `bakeMs`, longer while paused, no longer once promoted. */
export function bake(deployment: Deployment, staged: Staged): Step {
  return stay(deployment, staged, bakeDueAt(deployment)) ?? enter("draining");
}

/** All to the candidate, and then the bake. */
export function finish({ weight, pinned }: Deployment, { candidate }: Staged): Step {
  const isAll = weight === 1 && candidate.weight === 1;
  return isAll ? enter("baking") : { do: "weigh", candidate: 1, pinned };
}

/**
 * What there is to do before the stage may be left; null: it may be. In this order, so that each is as fresh as it can be:
 * its time is over or someone has continued (both is `due`), nobody holds it, the analysis has the good
 * samples that it needs, and the candidate passes its verification once more. A stage of no time is not
 * verified again, since that was just done. Who promotes wants none of it, and
 * can still be held by a later pause.
 */
export function stay(deployment: Deployment, staged: Staged, due: number): Step | null {
  const isPromoted = deployment.wish === "promote";
  const sampling = isPromoted ? null : sample(deployment, staged);
  if (sampling !== null) return sampling;
  if (deployment.paused) return wait(null);
  if (isPromoted) return null;
  const { now, candidate } = staged;
  if (now < due) return wait(due);
  if (!isConvincing(deployment, staged)) return wait(null);
  return due > stageStartedAt(deployment) ? proveAgain(candidate, due) : null;
}

/** An analysis that is configured samples from the stage's beginning, a pause included. */
export function sample(deployment: Deployment, { analysis }: Observation): Step | null {
  if (deployment.options.analysis === null) return null;
  return currentAnalysis(deployment, analysis) === null ? { do: "analyse" } : null;
}

function proveAgain({ verification, verificationSince }: CandidateView, due: number): Step | null {
  // Its limit, and what its failure means, are doubt.ts's. Failed: what could take the users is not ready yet.
  if (verification === "running" || verification === "failed") return wait(null);
  const isFresh = verificationSince !== null && verificationSince >= due;
  return verification === "passed" && isFresh ? null : { do: "verify" };
}

export function enter(phase: Phase, reason: Reason | null = null): Step {
  return { do: "enter", phase, reason };
}

export function wait(until: number | null): Step {
  return { do: "wait", until };
}
