/** What a deploy is to do, fixed when it is accepted: from the configuration, and from what was asked for. Pure. */
import type { CanaryStep, DeployOptions, StrategyName } from "../../deploy/deployment.ts";
import type { ServiceConfig } from "../config/config.ts";
import type { Demands } from "../generation/release.ts";
import { ACCEPT_MS } from "../proof/verification.ts";

/** The daemon's own ready timeout speaks first, since it can say what the application did instead. */
export const READY_GRACE_MS = 500;

export interface DeployWish {
  /** undefined: the version that is current, or remembered, or configured. */
  readonly version?: string | null | undefined;
  readonly strategy?: StrategyName | undefined;
  readonly bakeMs?: number | undefined;
  readonly steps?: readonly CanaryStep[] | undefined;
  readonly isRollback?: boolean;
}

interface Wanted {
  readonly version: string | null;
  /** How many instances someone has asked for; null: as many as the configuration says. */
  readonly instances: number | null;
}

/** What runs when the deploy begins. */
export interface Running {
  readonly version: string | null;
  readonly config: ServiceConfig;
  readonly instances: number;
}

export function deployOptions(
  config: ServiceConfig,
  wanted: DeployWish & Wanted,
  running: Running | null,
): DeployOptions {
  const { ready, verify, deploy } = config;
  const { analysis } = deploy;
  return {
    instances: wanted.instances ?? config.instances,
    previousInstances: running?.instances ?? 0,
    readyTimeoutMs: ready.timeoutMs + READY_GRACE_MS,
    verifyTimeoutMs:
      verify.reduce((sum, step) => sum + step.timeoutMs, 0) + (config.listeners.length + 1) * ACCEPT_MS,
    bakeMs: wanted.bakeMs ?? deploy.bakeMs,
    watchExits: deploy.watch.exits,
    watchQueueMs: deploy.watch.queueMs,
    steps: wanted.steps ?? deploy.steps,
    floor: deploy.floor,
    hasPins: deploy.pin.length > 0,
    overlaps: false,
    fallsBack: running !== null && !isSame(config, wanted.version, running),
    analysis:
      analysis === null
        ? null
        : { samples: analysis.samples, noData: analysis.noData, deadlineMs: analysis.deadlineMs },
  };
}

/** Whether what is to be started is what runs: if it fails, it would fail again. */
function isSame(config: ServiceConfig, version: string | null, running: Running): boolean {
  return version === running.version && JSON.stringify(config) === JSON.stringify(running.config);
}

/** What the deploy asks of each listener. */
export function demandsOf(
  strategy: StrategyName,
  options: DeployOptions,
  { deploy }: ServiceConfig,
): Demands {
  return { shares: sharesOf(strategy, options), networks: deploy.pin.length };
}

/** The shares that a candidate has on its way to all. */
function sharesOf(strategy: StrategyName, { instances, steps, previousInstances }: DeployOptions): number[] {
  switch (strategy) {
    case "canary":
      return steps.map(({ weight }) => weight);
    case "rolling":
      return previousInstances === 0 ? [] : [1 / (previousInstances + instances)];
    case "blue-green":
    case "recreate":
      return [];
  }
}
