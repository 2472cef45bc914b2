/** Records and observations for the tests: generation 5 (version 2) is to replace generation 4. */
import { beginDeployment, type DeployRequest } from "../../deploy/begin.ts";
import { type Deployment, type DeployOptions, enter, type Phase } from "../../deploy/deployment.ts";
import type { CandidateView, GenerationView, Observation } from "../../deploy/fleet.ts";

export const OPTIONS: DeployOptions = {
  instances: 2,
  previousInstances: 2,
  readyTimeoutMs: 10_000,
  verifyTimeoutMs: 5_000,
  bakeMs: 60_000,
  watchExits: 1,
  watchQueueMs: 0,
  steps: [],
  floor: 1,
  hasPins: false,
  fallsBack: true,
  overlaps: false,
  analysis: null,
};

/** When each phase of `deploymentIn` began. */
export const BEGAN = { starting: 0, verifying: 1_000, shifting: 2_000, baking: 3_000, later: 4_000 };

export function request(overrides: Partial<DeployRequest> = {}): DeployRequest {
  return {
    id: "d1",
    service: "api",
    strategy: "blue-green",
    from: 4,
    to: 5,
    version: "2",
    isRollback: false,
    requestedBy: "uid 0",
    options: OPTIONS,
    ...overrides,
  };
}

const WAYS: Readonly<Record<Phase, readonly Phase[]>> = {
  starting: [],
  verifying: ["verifying"],
  shifting: ["verifying", "shifting"],
  baking: ["verifying", "shifting", "baking"],
  draining: ["verifying", "shifting", "baking", "draining"],
  succeeded: ["verifying", "shifting", "baking", "draining", "succeeded"],
  "rolling-back": ["verifying", "shifting", "baking", "rolling-back"],
  "rolled-back": ["verifying", "shifting", "baking", "rolling-back", "rolled-back"],
  failed: ["failed"],
  aborted: ["aborted"],
};

export function deploymentIn(phase: Phase, overrides: Partial<Deployment> = {}): Deployment {
  let deployment = beginDeployment(request(), null, BEGAN.starting);
  for (const next of WAYS[phase]) {
    const at = next === "verifying" || next === "shifting" || next === "baking" ? BEGAN[next] : BEGAN.later;
    deployment = enter(deployment, next, null, at);
  }
  const hasWeight = phase === "baking" || phase === "draining" || phase === "succeeded";
  return { ...deployment, weight: hasWeight ? 1 : 0, ...overrides };
}

export function candidate(overrides: Partial<CandidateView> = {}): CandidateView {
  return { ...GENERATION, ...CANDIDATE, ...overrides };
}

export function previous(overrides: Partial<GenerationView> = {}): GenerationView {
  return { ...GENERATION, state: "serving", weight: 1, ...overrides };
}

const GENERATION = { ready: 2, wanted: 2, leaving: 0, startsUntil: 0, exits: 0, failure: null };
const CANDIDATE = {
  state: "standby",
  weight: 0,
  placed: true,
  verification: "none",
  verificationSince: null,
  queueSince: null,
  pinned: false,
} as const;

/** Before any users, a moment after the deploy began. */
export function seen(overrides: Partial<Observation> = {}): Observation {
  const around = { fallback: null, analysis: null, nextNumber: 6, isLatest: true };
  return { now: 3_500, candidate: candidate(), previous: previous(), ...around, ...overrides };
}

/** With all new connections on the candidate. */
export function seenWithUsers(overrides: Partial<Observation> = {}): Observation {
  return seen({
    candidate: candidate({ state: "serving", weight: 1 }),
    previous: previous({ state: "standby", weight: 0 }),
    ...overrides,
  });
}
