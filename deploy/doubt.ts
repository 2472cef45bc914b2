/**
 * Why users should leave a candidate that they have met: pure, from what is seen now. Each watches for one kind of
 * trouble, and a watch that waits says until when, so that a deploy is woken in time.
 */
import { type AnalysisPolicy, type Deployment, type Reason, stageStartedAt } from "./deployment.ts";
import { type AnalysisView, type CandidateView, isEnding, type Observation } from "./fleet.ts";
import * as reasons from "./reasons.ts";

/**
 * Null: they should stay. `canTakeOver`: what they would go back to can take them now. Trouble of a candidate that still
 * serves is better than a previous generation that does not just now; only when none of its own instances is
 * ready is there nothing to lose.
 */
export function doubt(deployment: Deployment, observation: Observation, canTakeOver: boolean): Reason | null {
  if (deployment.wish === "abort") return reasons.aborted(deployment, observation);
  if (deployment.wish === "rollback") return reasons.rolledBack(deployment, observation);
  const { candidate } = observation;
  if (candidate === null) return reasons.candidateLost(deployment, observation);
  if (isEnding(candidate)) return reasons.candidateFailed(deployment, observation);
  const reason = canTakeOver ? trouble(deployment, observation, candidate) : null;
  if (reason !== null) return reason;
  return candidate.ready === 0 ? reasons.candidateNotReady(deployment, observation) : null;
}

/** The next instant at which time alone may bring trouble; null: there is none to come. */
export function nextDoubtAt(deployment: Deployment, observation: Observation): number | null {
  const { now, candidate, analysis } = observation;
  const { verifyTimeoutMs, analysis: policy } = deployment.options;
  const instants = [
    candidate === null ? null : queueLimit(deployment, candidate),
    candidate?.verification === "running" ? verificationLimit(candidate, verifyTimeoutMs) : null,
    policy === null ? null : dataLimit(policy, currentAnalysis(deployment, analysis)),
  ];
  const coming = instants.filter((instant) => instant !== null && instant > now) as number[];
  return coming.length === 0 ? null : Math.min(...coming);
}

/** What is known of the step, or the bake, that the deploy is in; what was known of an earlier one is not. */
export function currentAnalysis(deployment: Deployment, analysis: AnalysisView | null): AnalysisView | null {
  return analysis !== null && analysis.stage === stageStartedAt(deployment) ? analysis : null;
}

/** Whether the analysis, if there is one, lets the deploy leave its step. */
export function isConvincing(deployment: Deployment, observation: Observation): boolean {
  const policy = deployment.options.analysis;
  if (policy === null) return true;
  const analysis = currentAnalysis(deployment, observation.analysis);
  if (analysis === null) return false;
  switch (analysis.state) {
    case "passing":
      return analysis.samples >= policy.samples;
    case "failing":
      return false;
    case "waiting":
      return policy.noData === "pass" && isOverdue(policy, analysis, observation.now);
    case "no-data":
      return policy.noData === "pass";
  }
}

function trouble(deployment: Deployment, observation: Observation, candidate: CandidateView): Reason | null {
  const { now } = observation;
  const { watchExits, verifyTimeoutMs } = deployment.options;
  if (watchExits > 0 && candidate.exits >= watchExits)
    return reasons.candidateExited(deployment, observation);
  if (candidate.verification === "failed") return reasons.verificationFailed(deployment, observation);
  if (candidate.verification === "running" && now >= verificationLimit(candidate, verifyTimeoutMs))
    return reasons.verifyTimeout(deployment, observation);
  const limit = queueLimit(deployment, candidate);
  if (limit !== null && now >= limit) return reasons.queueStuck(deployment, observation);
  return analysisTrouble(deployment, observation);
}

function analysisTrouble(deployment: Deployment, observation: Observation): Reason | null {
  const policy = deployment.options.analysis;
  const analysis = currentAnalysis(deployment, observation.analysis);
  if (policy === null || analysis === null) return null;
  const isLate = isOverdue(policy, analysis, observation.now);
  switch (analysis.state) {
    case "passing":
      return null;
    case "failing":
      return reasons.analysisFailed(deployment, observation);
    case "no-data":
      if (policy.noData === "fail") return reasons.analysisWithoutData(deployment, observation);
      return isLate && policy.noData === "wait" ? reasons.analysisWithoutData(deployment, observation) : null;
    case "waiting":
      return isLate && policy.noData !== "pass" ? reasons.analysisWithoutData(deployment, observation) : null;
  }
}

/** The queue of before it had users does not count: a verification fills it too, and so does a slow start. */
function queueLimit({ options, phases }: Deployment, { queueSince }: CandidateView): number | null {
  if (options.watchQueueMs === 0 || queueSince === null) return null;
  const shifting = phases.find(({ phase }) => phase === "shifting")?.startedAt ?? 0;
  return Math.max(queueSince, shifting) + options.watchQueueMs;
}

function verificationLimit({ verificationSince }: CandidateView, verifyTimeoutMs: number): number {
  return (verificationSince ?? 0) + verifyTimeoutMs;
}

function isOverdue(policy: AnalysisPolicy, analysis: AnalysisView, now: number): boolean {
  const limit = dataLimit(policy, analysis);
  return limit !== null && now >= limit;
}

/** null: there is a verdict, or nobody asks yet. */
function dataLimit({ deadlineMs }: AnalysisPolicy, analysis: AnalysisView | null): number | null {
  const isOpen = analysis?.state === "waiting" || analysis?.state === "no-data";
  return isOpen ? analysis.since + deadlineMs : null;
}
