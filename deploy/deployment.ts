/**
 * The record of one deploy. Plain data: it is written to the snapshot as it is, and a daemon that died goes on from it.
 *
 *   starting → verifying → shifting → baking → draining → succeeded
 *       │          │           │         │         ▲
 *       ▼          ▼           └────┬────┘         │ the previous generation has died: no way back
 *     failed / aborted         rolling-back ───────┘
 *                                   └→ rolled-back / aborted
 *
 * Until its first weight, which is in `shifting`, the candidate has had no user: a failure there is `failed`, and
 * nothing has changed. From then on going back is `rolling-back`. From `draining` on there is no way back but another
 * deploy. Three edges that the drawing leaves out: a first start ends in `shifting → succeeded`; a candidate that
 * fails after the previous generation has died ends its deploy as `failed` from any phase, since nothing is left; and
 * `recreate`, which moves the connections first, goes back from `starting` and `verifying` too (recreate.ts).
 */
import { conceal, expose, type Exposure } from "./exposure.ts";

export type Phase =
  | "starting"
  | "verifying"
  | "shifting"
  | "baking"
  | "draining"
  | "succeeded"
  | "rolling-back"
  | "rolled-back"
  | "failed"
  | "aborted";

export type StrategyName = "blue-green" | "canary" | "rolling" | "recreate";

/** Why something ended as it did: a stable code and a sentence for people. */
export interface Reason {
  readonly code: string;
  readonly message: string;
}

/** What someone asked of a deploy that is under way. The later wish replaces the earlier one. */
export type Wish = "promote" | "abort" | "rollback";

export interface CanaryStep {
  /** The candidate's share of new connections, 0..1; 0 is a step for the pinned networks alone. */
  readonly weight: number;
  readonly forMs: number;
  /** Stays until someone continues or promotes. */
  readonly pause: boolean;
}

export interface AnalysisPolicy {
  /** So many good samples are needed since a step, or the bake, began. */
  readonly samples: number;
  /** What the absence of data means: wait for it until the deadline and then go back, or it is good, or it is bad. */
  readonly noData: "wait" | "pass" | "fail";
  /** For how long an analysis may be without a verdict. */
  readonly deadlineMs: number;
}

/** What the strategy needs of the configuration, fixed when the deploy was accepted. */
export interface DeployOptions {
  /** How many instances the candidate is to have in the end. */
  readonly instances: number;
  /** How many the previous generation has when the deploy begins, and gets back if the deploy goes back; 0: none. */
  readonly previousInstances: number;
  /** From the start of the deploy until every instance of the candidate must be ready. */
  readonly readyTimeoutMs: number;
  /** How long verification as a whole may take. */
  readonly verifyTimeoutMs: number;
  /** How long the previous generation stays warm after 100 %. */
  readonly bakeMs: number;
  /** Unexpected exits of the candidate's instances, once it has weight, that mean going back. 0: do not watch. */
  readonly watchExits: number;
  /** For how long the candidate's accept queue, once it has weight, may stay non-empty. 0: do not watch. */
  readonly watchQueueMs: number;
  /** Of a canary: weights increase and are below 1. */
  readonly steps: readonly CanaryStep[];
  /** Of a rolling deploy: never fewer serving instances. More than either generation has mean as many as it has. */
  readonly floor: number;
  /** There are networks whose clients reach the candidate from its passed verification on. */
  readonly hasPins: boolean;
  /**
   * Of recreate: the release of `from` is another one than the candidate's, in version or configuration, so that
   * starting it again may help. False for a resume and for a restart of the same: the same is not tried twice.
   */
  readonly fallsBack: boolean;
  /**
   * Of recreate: a resume of what may run twice. The candidate then starts while the previous generation, which has no
   * new connections any more, still drains.
   */
  readonly overlaps: boolean;
  /** null: there is none. */
  readonly analysis: AnalysisPolicy | null;
}

export interface PhaseRecord {
  readonly phase: Phase;
  /** Milliseconds since the epoch, as everywhere in the record. */
  readonly startedAt: number;
  readonly finishedAt: number | null;
}

/** How far a canary has come. */
export interface StepRecord {
  readonly index: number;
  /** When it was reached. */
  readonly since: number;
  /** When a pause at this step was last ended; the step's time does not count any more then. */
  readonly continuedAt: number | null;
}

export interface Deployment {
  readonly id: string;
  readonly service: string;
  readonly strategy: StrategyName;
  /** The generation that was current when the deploy began; null on a service's first start. */
  readonly from: number | null;
  /** The generation that it starts: the candidate. */
  readonly to: number;
  readonly version: string | null;
  /** It goes back to an earlier release. What it leaves is then not "previous" to it: see rollback.ts. */
  readonly isRollback: boolean;
  readonly requestedBy: string;
  readonly startedAt: number;
  readonly finishedAt: number | null;
  readonly phase: Phase;
  readonly phases: readonly PhaseRecord[];
  /** The candidate's share of new connections, 0..1, as last asked for. Recorded before the kernel is told. */
  readonly weight: number;
  /** Whether the pinned networks reach the candidate, as last asked for. Recorded with the weight. */
  readonly pinned: boolean;
  /** How many users can have met the candidate; null: none. */
  readonly exposure: Exposure | null;
  /** Of a canary: the step that it has reached; null before the first. */
  readonly step: StepRecord | null;
  /** When a generation's number of instances was last changed; null: it never was. */
  readonly resizedAt: number | null;
  /** Of recreate: the generation by which the previous release was started again. Recorded before it is. */
  readonly fallback: number | null;
  readonly paused: boolean;
  readonly wish: Wish | null;
  /** Recorded before the first act that follows from it, so that a deploy which a crash interrupts ends with it. */
  readonly reason: Reason | null;
  readonly options: DeployOptions;
}

/** Where each phase may lead. */
export const PHASES: Readonly<Record<Phase, readonly Phase[]>> = {
  starting: ["verifying", "rolling-back", "failed", "aborted"],
  verifying: ["shifting", "rolling-back", "failed", "aborted"],
  shifting: ["baking", "succeeded", "rolling-back", "failed", "aborted"],
  baking: ["draining", "rolling-back", "failed"],
  draining: ["succeeded"],
  "rolling-back": ["rolled-back", "aborted", "draining", "failed"],
  succeeded: [],
  "rolled-back": [],
  failed: [],
  aborted: [],
};

/** It has ended and never changes again. */
export function isTerminal(deployment: Deployment): boolean {
  return PHASES[deployment.phase].length === 0;
}

/** It goes forward, and may be asked for something. */
export function isUnderway({ phase }: Pick<Deployment, "phase">): boolean {
  return phase === "starting" || phase === "verifying" || phase === "shifting" || phase === "baking";
}

/**
 * It stands in the way of another deploy of the service. A drain or a way back under way does not, but for recreate's
 * way back: until the previous release runs again, another deploy would start a second generation beside it.
 */
export function isActive({ phase, strategy }: Pick<Deployment, "phase" | "strategy">): boolean {
  return isUnderway({ phase }) || (strategy === "recreate" && phase === "rolling-back");
}

/**
 * Whether the candidate may have had a user. The weight is recorded before it is given, so after a crash this is
 * true of a candidate that was about to get some: the safe side, because going back from nothing costs nothing.
 */
export function hasHadUsers({ weight, pinned, phases }: Deployment): boolean {
  return weight > 0 || pinned || phases.some(({ phase }) => phase === "baking" || phase === "rolling-back");
}

/** When the present phase began. */
export function phaseStartedAt({ phases, startedAt }: Deployment): number {
  return phases.at(-1)?.startedAt ?? startedAt;
}

/** When that began which an analysis counts for: a canary's step, or else the phase. */
export function stageStartedAt(deployment: Deployment): number {
  const { phase, step } = deployment;
  return phase === "shifting" && step !== null ? step.since : phaseStartedAt(deployment);
}

/** The next step of a canary, with all that it asks for written down and nothing of it done. */
export function reach(deployment: Deployment, index: number, now: number): Deployment {
  const step = deployment.options.steps[index];
  if (step === undefined) throw new Error(`deploy ${deployment.id} has no step ${index}`);
  const since = Math.max(now, stageStartedAt(deployment));
  return {
    ...weigh(deployment, step.weight, deployment.pinned, now),
    paused: step.pause,
    step: { index, since, continuedAt: null },
  };
}

/** With this share of new connections for the candidate from `now` on, and the pinned networks or not. */
export function weigh(deployment: Deployment, weight: number, pinned: boolean, now: number): Deployment {
  // Past the bake it is the current generation, and whom it serves is no trial any more.
  const isTrial = isUnderway(deployment) || deployment.phase === "rolling-back";
  const exposure = isTrial ? expose(deployment.exposure, weight, pinned, now) : deployment.exposure;
  return { ...deployment, weight, pinned, exposure };
}

/**
 * Closes the present phase and opens `phase`; a terminal one closes at once, and the deploy with it. A null `reason`
 * keeps the one that stands. A move that is not in the table is a bug.
 */
export function enter(deployment: Deployment, phase: Phase, reason: Reason | null, now: number): Deployment {
  if (!PHASES[deployment.phase].includes(phase)) {
    throw new Error(`deploy ${deployment.id} cannot go from ${deployment.phase} to ${phase}`);
  }
  // The wall clock may have been set back; a phase that ends before it begins would poison every duration.
  const at = Math.max(now, phaseStartedAt(deployment));
  const finishedAt = PHASES[phase].length === 0 ? at : null;
  const closed = deployment.phases.map((record) =>
    record.finishedAt === null ? { ...record, finishedAt: at } : record,
  );
  return {
    ...deployment,
    phase,
    phases: [...closed, { phase, startedAt: at, finishedAt }],
    finishedAt,
    exposure: isUnderway({ phase }) ? deployment.exposure : conceal(deployment.exposure, at),
    // Beyond the active phases nobody could end a pause any more.
    paused: deployment.paused && isUnderway({ phase }),
    reason: reason ?? deployment.reason,
  };
}
