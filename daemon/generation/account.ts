/** As whom and in which surroundings a service's processes run. */
import { CodedError } from "../../handoff/coded-error.ts";
import type { Identity, LaunchSpecification, ResourceLimit } from "../../handoff/launch.ts";
import { native } from "../../handoff/native.ts";
import type { LimitName, ServiceConfig } from "../config/config.ts";
import { readEnvironmentFile } from "../config/environment-file.ts";

/** RLIMIT_* of <bits/resource.h>, the same on x86_64 and arm64. */
const RLIMIT: Readonly<Record<LimitName, number>> = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
};

export const RLIMIT_NICE = RLIMIT.nice;

/** Variables that speak to the daemon itself: they would mislead a service. */
const OURS =
  /^(LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET|WATCHDOG_(PID|USEC)|INVOCATION_ID|JOURNAL_STREAM|MAINPID|HANDOFF.*|RUNTIME_DIRECTORY|STATE_DIRECTORY|CONFIGURATION_DIRECTORY|LOGS_DIRECTORY|CACHE_DIRECTORY|SYSTEMD_EXEC_PID|FDSTORE|npm_.*)$/u;

export interface Account {
  readonly identity: Identity | null;
  readonly variables: Readonly<Record<string, string>>;
}

/** The user of the service; null identity where it runs as the daemon's own. Throws ACCOUNT_UNKNOWN. */
export function accountOf(service: ServiceConfig): Account {
  if (service.user === null && service.group === null && service.groups.length === 0) {
    return { identity: null, variables: {} };
  }
  const user = native.lookupUser(service.user ?? process.getuid?.() ?? 0);
  if (user === null) throw unknownAccount("user", service.user ?? "", service.name);
  const gid = service.group === null ? user.gid : groupId(service.group, service.name);
  const extra = service.groups.map((group) => groupId(group, service.name));
  return {
    identity: {
      uid: user.uid,
      gid,
      groups: [...new Set([...native.groupsOf(user.name, gid), ...extra])],
    },
    variables: { HOME: user.home, USER: user.name, LOGNAME: user.name, SHELL: user.shell },
  };
}

function groupId(name: string, service: string): number {
  const gid = native.lookupGroup(name);
  if (gid === null) throw unknownAccount("group", name, service);
  return gid;
}

function unknownAccount(kind: string, name: string, service: string): CodedError {
  return new CodedError(
    "ACCOUNT_UNKNOWN",
    `the ${kind} "${name}" of service ${service} does not exist any more`,
  );
}

/** The directory of a version; null: the daemon's own. */
export function directoryOf(service: ServiceConfig, version: string | null): string | null {
  return service.directory?.replaceAll("{version}", version ?? "") ?? null;
}

/** The daemon's own, without what speaks to the daemon. */
export function ownEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !OURS.test(entry[0]),
    ),
  );
}

/** What the configuration says of it. Throws when the file cannot be read. */
export function configuredEnvironment(service: ServiceConfig): Record<string, string> {
  const file = service.environmentFile === null ? {} : readEnvironmentFile(service.environmentFile);
  return { ...file, ...service.environment };
}

/**
 * How to run one of the service's commands. The environment is the daemon's own without what speaks to the daemon, then the
 * user's, the file's, the configured, and `extra`: the later wins. Throws when the file cannot be read.
 */
export function specificationFor(
  service: ServiceConfig,
  version: string | null,
  command: readonly string[],
  extra: Readonly<Record<string, string>>,
  keepChannel: boolean,
  deathSignal: NodeJS.Signals | null = null,
): LaunchSpecification {
  const account = accountOf(service);
  return {
    command,
    environment: { ...ownEnvironment(), ...account.variables, ...configuredEnvironment(service), ...extra },
    directory: directoryOf(service, version),
    identity: account.identity,
    umask: service.umask,
    limits: limitsOf(service),
    nice: service.nice,
    noNewPrivileges: service.noNewPrivileges,
    keepChannel,
    deathSignal,
  };
}

function limitsOf(service: ServiceConfig): ResourceLimit[] {
  return Object.entries(service.limits).map(([name, limit]) => ({
    resource: RLIMIT[name as LimitName],
    soft: limit.soft === "infinity" ? null : limit.soft,
    hard: limit.hard === "infinity" ? null : limit.hard,
  }));
}
