/** What is asked of a deploy, and what it needs of the configuration as it is when it is accepted. */
import type { Deployment, DeployOptions } from "../deploy/deployment.ts";
import type { ServiceConfig } from "./config/config.ts";
import { ACCEPT_MS } from "./verification.ts";

/** The daemon's own ready timeout speaks first, since it can say what the application did instead. */
const READY_GRACE_MS = 500;

export interface DeployWish {
  /** undefined: the version that is current, or remembered, or configured. */
  readonly version?: string | null | undefined;
  readonly strategy?: Deployment["strategy"] | undefined;
  readonly bakeMs?: number | undefined;
  readonly isRollback?: boolean;
}

/** From the service's configuration, but for what the wish says otherwise. */
export function deployOptions(
  { ready, verify, deploy, listeners }: ServiceConfig,
  { bakeMs }: Pick<DeployWish, "bakeMs"> = {},
): DeployOptions {
  return {
    readyTimeoutMs: ready.timeoutMs + READY_GRACE_MS,
    verifyTimeoutMs:
      verify.reduce((sum, step) => sum + step.timeoutMs, 0) + (listeners.length + 1) * ACCEPT_MS,
    bakeMs: bakeMs ?? deploy.bakeMs,
    watchExits: deploy.watch.exits,
  };
}
