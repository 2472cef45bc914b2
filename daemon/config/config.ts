/**
 * The configuration as the daemon uses it: every default filled in, every duration in milliseconds, every name
 * resolved that can be. `load.ts` makes it from a file, `arguments.ts` from a command line; nothing else does.
 * How the file is written is `schema.ts`; what each key means is docs/configuration.md.
 */
import type { ListenerAddress, TcpAddress } from "../../handoff/address.ts";

export interface Config {
  /** The absolute path it was read from; null when it was made from arguments. */
  readonly file: string | null;
  readonly listeners: readonly ListenerConfig[];
  readonly services: readonly ServiceConfig[];
  readonly admin: AdminConfig;
  /** An own address for /metrics; null: it is served with the API only. */
  readonly metrics: { readonly address: TcpAddress } | null;
  readonly paths: PathsConfig;
  /** SO_MARK values start at `base`, a multiple of 0x10000; null: connections are not marked. */
  readonly marks: { readonly base: number } | null;
  readonly keeper: "auto" | "off";
  readonly log: { readonly level: LogLevel };
  /** What is allowed but probably not meant, as `FILE:LINE:COL: …`. Whoever loads the configuration says them, once. */
  readonly warnings: readonly string[];
}

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal";

export interface PathsConfig {
  /** Absolute. Sockets are made here. */
  readonly runtime: string;
  /** Absolute. What must outlive a boot is kept here. */
  readonly state: string;
}

export interface ListenerConfig {
  readonly name: string;
  readonly address: ListenerAddress;
  readonly backlog: number;
  /** Of a unix socket's path, as in chmod(2); null: what the umask leaves. */
  readonly mode: number | null;
  /** The group that a unix socket's path belongs to; null: the daemon's. */
  readonly group: string | null;
}

export interface ServiceConfig {
  readonly name: string;
  /** The first is the program. Empty only where `external` is: then the daemon cannot start it. */
  readonly command: readonly string[];
  /** Absolute, and may contain `{version}`; null: the daemon's own. */
  readonly directory: string | null;
  /** Of the first start; null: the service has no versions. */
  readonly version: string | null;
  readonly environment: Readonly<Record<string, string>>;
  /** Absolute. Read at each start of a generation, with `readEnvironmentFile`; `environment` wins over it. */
  readonly environmentFile: string | null;
  /** A name of the user database; null: the daemon's own user. */
  readonly user: string | null;
  /** A name of the group database; null: the user's first group. */
  readonly group: string | null;
  /** Supplementary groups beside those that the user database gives. */
  readonly groups: readonly string[];
  readonly umask: number | null;
  readonly limits: Readonly<Partial<Record<LimitName, Limit>>>;
  readonly nice: number | null;
  readonly noNewPrivileges: boolean;
  /** Names of listeners, in the order of the descriptors 3, 4, … */
  readonly listeners: readonly string[];
  readonly instances: number;
  readonly ready: ReadyConfig;
  readonly verify: readonly VerifyConfig[];
  readonly deploy: DeployConfig;
  readonly drain: DrainConfig;
  readonly fdstore: { readonly max: number };
  readonly external: ExternalConfig | null;
  readonly restart: { readonly backoffMinMs: number; readonly backoffMaxMs: number };
  readonly output: OutputConfig;
}

/** RLIMIT_* in lower case, getrlimit(2). */
export type LimitName =
  | "as"
  | "core"
  | "cpu"
  | "data"
  | "fsize"
  | "locks"
  | "memlock"
  | "msgqueue"
  | "nice"
  | "nofile"
  | "nproc"
  | "rss"
  | "rtprio"
  | "rttime"
  | "sigpending"
  | "stack";

export interface Limit {
  readonly soft: number | "infinity";
  readonly hard: number | "infinity";
}

export type ReadyConfig =
  | { readonly by: "notify"; readonly timeoutMs: number }
  | { readonly by: "listening"; readonly listener: string; readonly timeoutMs: number }
  | {
      readonly by: "http";
      readonly listener: string;
      readonly path: string;
      /** The status that proves it. */
      readonly expect: number;
      readonly timeoutMs: number;
    }
  | { readonly by: "delay"; readonly afterMs: number; readonly timeoutMs: number };

export type VerifyConfig =
  | {
      readonly kind: "http";
      readonly listener: string;
      readonly path: string;
      readonly expect: number;
      /** Requests that must all be answered as expected. */
      readonly count: number;
      /** For all of them together. */
      readonly timeoutMs: number;
    }
  | { readonly kind: "command"; readonly command: readonly string[]; readonly timeoutMs: number };

export interface DeployConfig {
  readonly strategy: "blue-green" | "canary" | "rolling" | "recreate";
  /** Of a canary, and never empty: a request may ask for one where the file has another strategy. */
  readonly steps: readonly StepConfig[];
  readonly share: "random" | "sticky";
  /** Networks in CIDR notation whose clients reach the candidate from its passed verification on. */
  readonly pin: readonly string[];
  readonly bakeMs: number;
  /** Rolling: never fewer serving instances. */
  readonly floor: number;
  /** `exits` 0 and `queueMs` 0: not watched. */
  readonly watch: { readonly exits: number; readonly queueMs: number };
  readonly analysis: AnalysisConfig | null;
}

export interface StepConfig {
  /** The candidate's share of new connections: 0..1, below 1, above that of the step before. 0: the pinned alone. */
  readonly weight: number;
  /** 0 where `pause` is. */
  readonly forMs: number;
  /** Stays at this step until someone continues. */
  readonly pause: boolean;
}

export interface AnalysisConfig {
  readonly source: AnalysisSource;
  /** What a good value may be at most and at least; at least one of them is there for a query, none for a command. */
  readonly max: number | null;
  readonly min: number | null;
  readonly everyMs: number;
  /** Good ones that are needed in each step and in the bake. */
  readonly samples: number;
  readonly noData: "wait" | "pass" | "fail";
  /** For so long a step, or the bake, may be without a verdict. */
  readonly deadlineMs: number;
  /** For one sample. */
  readonly timeoutMs: number;
}

export type AnalysisSource =
  | {
      readonly kind: "prometheus";
      /** http or https, without credentials and without a slash at its end: `/api/v1/query` is added to it. */
      readonly url: string;
      /** `fillQuery` of placeholders.ts fills in what it is about. */
      readonly query: string;
    }
  | { readonly kind: "command"; readonly command: readonly string[] };

export interface DrainConfig {
  /** A name of signal(7), such as SIGTERM. */
  readonly signal: NodeJS.Signals;
  readonly settleMs: number;
  readonly timeoutMs: number;
}

export interface ExternalConfig {
  /** Whoever matches one of them. */
  readonly allow: { readonly uids: readonly number[]; readonly gids: readonly number[] };
  /** Absolute; null: `NAME.sock` in the runtime directory. */
  readonly socket: string | null;
  /** Placeholders are filled in by `fillCommand`; null: someone comes without being asked. */
  readonly start: readonly string[] | null;
  /** null: the instance is told by `drain.signal`. */
  readonly stop: readonly string[] | null;
}

export type OutputConfig =
  | { readonly kind: "inherit" }
  | { readonly kind: "journal" }
  | { readonly kind: "file"; readonly path: string };

export interface AdminConfig {
  readonly socket: AdminSocketConfig;
  readonly http: AdminHttpConfig | null;
}

export interface AdminSocketConfig {
  /** Absolute. */
  readonly path: string;
  readonly mode: number;
  readonly group: string | null;
  /** In the file's order. Root and the daemon's own user are `admin` without being named. */
  readonly roles: readonly RoleGrant[];
}

export type Role = "read" | "deploy" | "admin";

export interface RoleGrant {
  readonly role: Role;
  readonly to: "user" | "group";
  /** The uid or the gid. */
  readonly id: number;
}

export interface AdminHttpConfig {
  readonly address: TcpAddress;
  /** Absolute path of the file of hashed bearer tokens. */
  readonly tokens: string | null;
  readonly tls: { readonly cert: string; readonly key: string; readonly clientCa: string | null } | null;
}
