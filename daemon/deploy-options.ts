/** What a deploy takes from the configuration, fixed when it is accepted. */
import type { Deployment } from "../deploy/deployment.ts";
import type { ServiceConfig } from "./config/config.ts";
import { ACCEPT_MS } from "./verification.ts";

/** The daemon's own ready timeout speaks first, since it can say what the application did instead. */
const READY_GRACE_MS = 500;

/** `bakeMs`: where the request says one. */
export function optionsOf(
  { ready, verify, deploy, listeners }: ServiceConfig,
  bakeMs: number | undefined,
): Deployment["options"] {
  return {
    readyTimeoutMs: ready.timeoutMs + READY_GRACE_MS,
    verifyTimeoutMs:
      verify.reduce((sum, step) => sum + step.timeoutMs, 0) + (listeners.length + 1) * ACCEPT_MS,
    bakeMs: bakeMs ?? deploy.bakeMs,
    watchExits: deploy.watch.exits,
  };
}
