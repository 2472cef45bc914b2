/** What stands in the way of a verification; what a verification finds is findings.ts. */
import { CodedError } from "../../handoff/coded-error.ts";

/** Nothing was started. `way` is the way out. */
export function unusable(service: string, why: string, way: string): CodedError {
  return new CodedError("VERIFY_UNUSABLE", `${service} cannot be verified: ${why}; ${way}`);
}

/** The private daemon, not the application, is in the way. `log`: its last words. */
export function daemonFailed(what: string, log: readonly string[], cause?: unknown): CodedError {
  const words = log.map((line) => `\n  ${line}`).join("");
  return new CodedError(
    "VERIFY_DAEMON_FAILED",
    `the private daemon ${what}; nothing is known of the application, and all that was started is ended${words}`,
    { cause },
  );
}
