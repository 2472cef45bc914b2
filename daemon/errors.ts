/** What can fail while the daemon acts. The codes are stable; docs/errors.md lists them. */
import type { Reason } from "../deploy/deployment.ts";
import { CodedError, messageOf } from "../handoff/coded-error.ts";

export function versionMissing(service: string): CodedError {
  return new CodedError(
    "VERSION_MISSING",
    `the directory of ${service} contains {version}, and no version was given or remembered; name one`,
  );
}

export function versionInvalid(version: string): CodedError {
  return new CodedError(
    "VERSION_INVALID",
    `"${version}" is not a version: letters, digits, ".", "_" and "-" only, at most 128, beginning with a letter or digit`,
  );
}

export function directoryMissing(directory: string, service: string): CodedError {
  return new CodedError(
    "DIRECTORY_MISSING",
    `the directory ${directory} of ${service} does not exist; install this version there first; nothing was changed`,
  );
}

export function nothingRuns(service: string): CodedError {
  return new CodedError("SERVICE_NOT_RUNNING", `${service} has no current generation; deploy it first`);
}

export function stopping(): CodedError {
  return new CodedError("DAEMON_STOPPING", "the daemon is stopping; nothing new is begun");
}

export function modeTooWeak(service: string, strategy: string, listener: string): CodedError {
  return new CodedError(
    "STRATEGY_NEEDS_STEERING",
    `${strategy} needs a gate, and listener ${listener} of ${service} is shared (one socket for all generations: the new one would get users at once); give it a tcp or unix path address`,
  );
}

export function anotherDaemon(runtime: string): CodedError {
  return new CodedError(
    "DAEMON_ALREADY_RUNS",
    `another handoffd runs with the runtime directory ${runtime}; stop it first, or give this one its own paths.runtime`,
  );
}

export function cannotPrepare(path: string, why: string, cause: unknown): CodedError {
  return new CodedError("DIRECTORY_UNUSABLE", `cannot use ${path}: ${why}`, { cause });
}

export function snapshotUnreadable(file: string, why: string, cause?: unknown): CodedError {
  return new CodedError(
    "SNAPSHOT_UNREADABLE",
    `cannot read the state in ${file}: ${why}; move the file away to start without it (processes that it names are then not adopted)`,
    { cause },
  );
}

export function stateNotWritten(file: string, why: string, cause: unknown): CodedError {
  return new CodedError(
    "STATE_NOT_WRITTEN",
    `the state cannot be written to ${file}: ${why}; what needs it is not begun, and what runs goes on; make room, or the directory writable`,
    { cause },
  );
}

export function upgradeRefused(why: string, cause?: unknown): CodedError {
  return new CodedError("UPGRADE_REFUSED", `the upgrade was refused and nothing was changed: ${why}`, {
    cause,
  });
}

export function upgradeInProgress(): CodedError {
  return new CodedError(
    "UPGRADE_IN_PROGRESS",
    "an upgrade of the daemon is under way already; handoffctl events shows how it ends",
  );
}

export function upgradeFailed(why: string, cause?: unknown): CodedError {
  return new CodedError("UPGRADE_FAILED", `the daemon could not be replaced and goes on as it was: ${why}`, {
    cause,
  });
}

export function upgradeStateUnreadable(why: string, cause?: unknown): CodedError {
  return new CodedError(
    "UPGRADE_STATE_UNREADABLE",
    `what the daemon before has left cannot be read: ${why}; restart the daemon instead of upgrading it`,
    { cause },
  );
}

export function instanceExited(who: string, how: string, when: string): CodedError {
  return new CodedError("INSTANCE_EXITED", `${who} ${how} ${when}`);
}

export function readyTimeout(who: string, ms: number, hint: string): CodedError {
  return new CodedError("READY_TIMEOUT", `${who} was not ready within ${ms} ms: ${hint}`);
}

export function notAccepting(
  who: string,
  listener: string,
  address: string,
  seconds: number,
  hint: string,
): CodedError {
  return new CodedError(
    "GENERATION_NOT_ACCEPTING",
    `${who} accepted nothing on listener ${listener} (${address}) for ${seconds}s: ${hint}`,
  );
}

export function verificationFailed(what: string, why: string): CodedError {
  return new CodedError("VERIFICATION_FAILED", `${what}: ${why}`);
}

export function stepsUnusable(): CodedError {
  return new CodedError(
    "DEPLOY_STEPS_UNUSABLE",
    "steps belong to the strategy canary, which this version does not have; leave them out",
  );
}

export function slotsMissing(listener: string, found: number): CodedError {
  return new CodedError(
    "LISTENER_SLOTS_MISSING",
    `the keeper holds ${found} slots of listener ${listener}, but not all from the first on: it died while it was given them; their places in the kernel are not known. End the processes that serve it and the keeper (handoff-keeper), then start again`,
  );
}

export function addressChanged(listener: string, held: string, wanted: string): CodedError {
  return new CodedError(
    "LISTENER_ADDRESS_CHANGED",
    `listener ${listener} was changed from ${held} to ${wanted} while no daemon ran, and its processes still serve the old address; start with ${held}, stop the daemon (SIGTERM drains), then change it`,
  );
}

export function notRemembered(listener: string, pid: number, command: string): CodedError {
  return new CodedError(
    "LISTENER_NOT_REMEMBERED",
    `pid ${pid} (${command}) serves listener ${listener}, and no service of the configuration remembers it: was the service renamed, or its state directory removed, while no daemon ran? Restore that, or end the process, then start again`,
  );
}

export function adminSocketInUse(path: string): CodedError {
  return new CodedError(
    "ADMIN_SOCKET_IN_USE",
    `another process listens on the admin socket ${path}; give this daemon its own admin.socket.path`,
  );
}

/** As a deploy gives it. An error that nobody foresaw is a fault of ours, and says so. */
export function reasonOf(error: unknown): Reason {
  if (error instanceof CodedError) return { code: error.code, message: error.message };
  return { code: "INTERNAL", message: `a fault in handoffd: ${messageOf(error)}` };
}
