/** What becomes of a deploy when the daemon and every process that it looked at ended together: a reboot, a killed container. */
import { type Deployment, enter, isTerminal } from "./deployment.ts";
import { isAbort } from "./reasons.ts";

/**
 * The deployment, ended. Nothing of it runs any more, so nothing is left to act on: one that was draining had moved its
 * users over and is a success, one that was going back has gone back, and any other has failed.
 */
export function endInterrupted(deployment: Deployment, now: number): Deployment {
  if (isTerminal(deployment)) return deployment;
  const { phase, to, reason } = deployment;
  if (phase === "draining") return enter(deployment, "succeeded", null, now);
  if (phase === "rolling-back")
    return enter(deployment, isAbort(reason) ? "aborted" : "rolled-back", null, now);
  const message =
    `The daemon and every process ended while generation ${to} was ${phase}. ` +
    "The last good release is started again; deploy this one once more.";
  return enter(deployment, "failed", { code: "DEPLOY_INTERRUPTED", message }, now);
}
