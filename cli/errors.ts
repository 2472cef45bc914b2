/** What the command line itself finds; everything else comes from the API as it is. */
import { CodedError, messageOf } from "../handoff/coded-error.ts";

export function deployNotRunning(service: string): CodedError {
  return new CodedError(
    "DEPLOY_NOT_RUNNING",
    `No deploy of ${service} is running. \`handoffctl history ${service}\` lists those that have ended.`,
  );
}

export function targetUnknown(target: string, services: string): CodedError {
  return new CodedError("TARGET_UNKNOWN", `"${target}" is neither a deploy nor a service. ${services}`);
}

/** The daemon came back, but from a state in which this deploy is not. */
export function deployLost(id: string): CodedError {
  return new CodedError(
    "DEPLOY_LOST",
    `handoffd was restarted and does not know deploy ${id} any more. \`handoffctl status\` shows what serves now.`,
  );
}

export function reconnectedInVain(seconds: number, cause: unknown): CodedError {
  return new CodedError(
    "DAEMON_NOT_REACHABLE",
    `handoffd has not been reachable for ${seconds} s: ${messageOf(cause)}`,
    {
      cause,
    },
  );
}

export function upgradeOutcomeUnknown(cause: unknown): CodedError {
  return new CodedError(
    "DAEMON_NOT_REACHABLE",
    "What came of the upgrade is not known: handoffd does not answer. The applications serve on without it; its log says why.",
    { cause },
  );
}

export function outcomeUnknown(id: string, service: string, cause: Error): CodedError {
  return new CodedError(
    "DAEMON_NOT_REACHABLE",
    `What came of deploy ${id} is not known: ${cause.message} ` +
      `The sockets stay open without the daemon. When it is back: handoffctl history ${service}`,
    { cause },
  );
}

export function doctorFailed(why: string, cause: unknown): CodedError {
  return new CodedError("DOCTOR_FAILED", `handoffd doctor could not look at the host: ${why}`, { cause });
}

export function fileUnreadable(file: string, cause: unknown): CodedError {
  return new CodedError("FILE_UNREADABLE", `${file} cannot be read: ${messageOf(cause)}`, { cause });
}
