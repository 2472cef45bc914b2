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

/** `role`: what it is to the service instead of draining. */
export function generationInUse(
  service: string,
  generation: number,
  role: "current" | "candidate" | "previous",
): CodedError {
  const [what, wayOut] = WAYS_OUT[role];
  return new CodedError(
    "GENERATION_IN_USE",
    `generation ${generation} of ${service} ${what}, and only a draining one is ended by hand; nothing was changed. ${wayOut.replaceAll("SERVICE", service)}`,
  );
}

const WAYS_OUT = {
  current: [
    "is current",
    "To replace it: handoffctl deploy SERVICE. To let new connections wait: handoffctl hold SERVICE",
  ],
  candidate: ["is the candidate of a deploy", "To stop that: handoffctl abort SERVICE"],
  previous: [
    "is the way back of a deploy that bakes",
    "To drain it at once: handoffctl promote SERVICE. To go back to it: handoffctl rollback SERVICE",
  ],
} as const;

export function stopping(): CodedError {
  return new CodedError("DAEMON_STOPPING", "the daemon is stopping; nothing new is begun");
}

export function modeTooWeak(service: string, strategy: string, listener: string): CodedError {
  return new CodedError(
    "STRATEGY_NEEDS_STEERING",
    `${strategy} needs a gate, and listener ${listener} of ${service} is shared (one socket for all generations: the new one would get users at once); give it a tcp or unix path address`,
  );
}

export function noShares(service: string, strategy: string, listener: string, share: number): CodedError {
  return new CodedError(
    "STRATEGY_NEEDS_STEERING",
    `${strategy} gives the candidate ${Math.round(share * 10_000) / 100} % of the new connections, and listener ${listener} of ${service} gives them all to one generation (only a tcp address can be shared out); use blue-green, or give it a tcp address`,
  );
}

export function noNetworks(service: string, listener: string): CodedError {
  return new CodedError(
    "STRATEGY_NEEDS_STEERING",
    `deploy.pin sends networks of clients to the candidate, and listener ${listener} of ${service} cannot tell clients apart (a unix socket's have no address); remove pin, or give it a tcp address`,
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

/** `asked`: somebody was asked to start it. */
export function externalNotCome(who: string, ms: number, how: string, asked: boolean): CodedError {
  const why = asked
    ? "external.start was run, and nothing has connected: see what it wrote to the daemon's output"
    : "nobody has started it";
  return new CodedError(
    "EXTERNAL_NOT_COME",
    `no process came for ${who} within ${ms} ms: ${why}. What is awaited is ${how}`,
  );
}

export function externalStartFailed(who: string, why: string): CodedError {
  return new CodedError("EXTERNAL_START_FAILED", `nobody started ${who}: external.start ${why}`);
}

export function doorClosed(service: string): CodedError {
  return new CodedError(
    "EXTERNAL_NO_SOCKET",
    `${service} has no handoff socket any more: external: was taken out of its configuration; add it again, or deploy what is there now`,
  );
}

export function handoffSocketInUse(service: string, path: string): CodedError {
  return new CodedError(
    "HANDOFF_SOCKET_IN_USE",
    `another process listens on ${path}, the handoff socket of ${service}; give the service another external.socket, or end that process`,
  );
}

export function noCommand(service: string): CodedError {
  return new CodedError(
    "EXTERNAL_NO_COMMAND",
    `${service} has no command: and its instances are started by someone else; what waits is taken by the next generation on that slot; with a command: the daemon could start an instance for it`,
  );
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

/** `sentence` names the step, what is wrong with it and the way out. */
export function stepsUnusable(sentence: string, cause?: unknown): CodedError {
  return new CodedError("DEPLOY_STEPS_UNUSABLE", `${sentence}. Nothing was started`, { cause });
}

export function stepsWithout(strategy: string): CodedError {
  return stepsUnusable(
    `steps belong to a canary, and this deploy is ${strategy}; leave them out, or ask for canary`,
  );
}

export function serviceLeaving(service: string): CodedError {
  return new CodedError(
    "SERVICE_LEAVING",
    `${service} was removed from the configuration and is ending; nothing was started. Add it again when handoffctl status shows it no more`,
  );
}

export function reloadInProgress(): CodedError {
  return new CodedError(
    "RELOAD_IN_PROGRESS",
    "the configuration is being read again already; nothing was changed by this request; ask again",
  );
}

export function reloadWithoutFile(): CodedError {
  return new CodedError(
    "RELOAD_WITHOUT_FILE",
    "the daemon was started with --listen and has no file to read again; nothing was changed; start it with -c FILE",
  );
}

export function reloadRefused(file: string, problems: readonly string[]): CodedError {
  const count = problems.length === 1 ? "one change" : `${problems.length} changes`;
  const lines = problems.map((problem) => `\n  ${problem}`).join("");
  return new CodedError(
    "RELOAD_REFUSED",
    `${file} has ${count} that cannot be made while the daemon runs, and nothing of it was applied:${lines}`,
    { details: { file, problems } },
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

export function listenerMoved(listener: string, from: string, to: string): CodedError {
  return new CodedError(
    "LISTENER_NOT_REMEMBERED",
    `service ${from} serves listener ${listener}, and the configuration has no such service and gives its listener to ${to}: was it renamed while no daemon ran? Give it its name back, then start again; with a running daemon, reload moves a listener in two steps`,
  );
}

export function notInherited(name: string, others: readonly string[]): CodedError {
  const found =
    others.length === 0 ? "it gave none" : `it gave ${others.map((each) => `"${each}"`).join(", ")}`;
  return new CodedError(
    "LISTENER_NOT_INHERITED",
    `systemd gave no socket named "${name}" (${found}); write FileDescriptorName=${name} into the .socket unit, start that unit, and name it in Sockets= of handoffd.service`,
  );
}

export function givenAtStartOnly(name: string): CodedError {
  return new CodedError(
    "LISTENER_NOT_INHERITED",
    `systemd gives sockets to a daemon that starts, and this one runs: the socket "${name}" cannot be had by a reload; name its unit in Sockets= of handoffd.service and run systemctl restart handoffd, which replaces the daemon and not the applications`,
  );
}

export function inheritedTwice(name: string, count: number): CodedError {
  return new CodedError(
    "LISTENER_NOT_INHERITED",
    `systemd gave ${count} sockets named "${name}", and a listener has one address; make one .socket unit for each, with names of their own`,
  );
}

export function adminSocketInUse(path: string): CodedError {
  return new CodedError(
    "ADMIN_SOCKET_IN_USE",
    `another process listens on the admin socket ${path}; give this daemon its own admin.socket.path`,
  );
}

export function addressNotHad(key: string, address: string, why: string, cause: unknown): CodedError {
  return new CodedError(
    "ADMIN_ADDRESS_UNUSABLE",
    `cannot listen on ${address} (${key}): ${why}; end what is there, or choose another address`,
    { cause },
  );
}

export function tokensUnreadable(file: string, why: string, cause: unknown): CodedError {
  return new CodedError(
    "TOKENS_UNREADABLE",
    `the tokens file ${file} cannot be used: ${why}; who may do what stays as it was`,
    { cause },
  );
}

export function tlsUnusable(file: string, why: string, cause: unknown): CodedError {
  return new CodedError(
    "TLS_UNUSABLE",
    `${file} cannot be used for TLS: ${why}; give PEM files of a certificate chain and its key`,
    { cause },
  );
}

/** As a deploy gives it. An error that nobody foresaw is a fault of ours, and says so. */
export function reasonOf(error: unknown): Reason {
  if (error instanceof CodedError) return { code: error.code, message: error.message };
  return { code: "INTERNAL", message: `a fault in handoffd: ${messageOf(error)}` };
}
