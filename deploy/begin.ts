/** The one door by which a deploy comes into the world. */
import { type Deployment, type DeployOptions, isActive, type StrategyName } from "./deployment.ts";
import { deployInProgress } from "./errors.ts";

export interface DeployRequest {
  readonly id: string;
  readonly service: string;
  readonly strategy: StrategyName;
  readonly from: number | null;
  readonly to: number;
  readonly version: string | null;
  readonly isRollback: boolean;
  readonly requestedBy: string;
  readonly options: DeployOptions;
}

/**
 * The record of a new deploy, in `starting`; nothing is started yet. `latest` is the service's newest deploy, or
 * null. Throws DEPLOY_IN_PROGRESS while that one is active.
 */
export function beginDeployment(request: DeployRequest, latest: Deployment | null, now: number): Deployment {
  if (latest !== null && isActive(latest)) throw deployInProgress(latest);
  return {
    ...request,
    startedAt: now,
    finishedAt: null,
    phase: "starting",
    phases: [{ phase: "starting", startedAt: now, finishedAt: null }],
    weight: 0,
    pinned: false,
    exposure: null,
    step: null,
    resizedAt: null,
    fallback: null,
    paused: false,
    wish: null,
    reason: null,
  };
}
