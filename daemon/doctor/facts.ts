/**
 * What the doctor knows: read in one go by gather.ts, judged by the judge-*.ts, which are pure. Whatever could not be
 * learned is null, and is then not judged, unless that itself is the finding.
 */
import type { Config } from "../config/config.ts";

/** null: it works. Otherwise why it does not, as the kernel says it (`EPERM: …`). */
export type Trial = string | null;

export interface Facts {
  /** null: it could not be used, for `configProblem`; or there is none. */
  readonly config: Config | null;
  readonly configProblem: string | null;
  readonly kernel: KernelFacts;
  readonly sysctls: SysctlFacts;
  readonly limits: LimitFacts;
  readonly self: { readonly uid: number; readonly pid: number };
  /** The unit of systemd that the daemon is, or would be; null without systemd or without a unit. */
  readonly unit: UnitFacts | null;
  readonly files: FileFacts;
  /** Listening sockets that instances have, and that handoffd did not give them; empty without a daemon. */
  readonly ownSockets: readonly OwnSocket[];
}

export interface KernelFacts {
  readonly release: string;
  readonly reuseportFilter: Trial;
  readonly pidfd: Trial;
  readonly peerPidfd: Trial;
  readonly socketDiag: Trial;
  readonly mark: Trial;
}

export interface SysctlFacts {
  readonly somaxconn: number | null;
  readonly migrateRequests: boolean | null;
  /** Interfaces with net.ipv4.conf.NAME.route_localnet = 1. */
  readonly routeLocalnet: readonly string[];
  /** The first and the last port that the kernel gives to connections going out. */
  readonly localPorts: readonly [number, number] | null;
  /** Ranges of ports that it does not give to them. */
  readonly reservedPorts: readonly (readonly [number, number])[];
}

/** Infinity: there is none. */
export interface LimitFacts {
  readonly openFiles: number;
  readonly processes: number;
  /** pids.max of the control group, and how many there are (cgroup-v2). */
  readonly tasks: { readonly max: number; readonly current: number } | null;
}

/** The words of `systemctl show`, as they are. */
export interface UnitFacts {
  readonly name: string;
  /** Whether systemd has started the process that asks: without it nothing can be said of its messages. */
  readonly isOurs: boolean;
  /** The first number of `systemctl --version`. */
  readonly systemd: number | null;
  readonly type: string;
  readonly notifyAccess: string;
  readonly killMode: string;
  readonly restart: string;
  /** Seconds; Infinity: none. */
  readonly stopTimeoutS: number;
  readonly fdstoreMax: number;
  readonly needsReload: boolean;
  readonly hasStopPost: boolean;
}

export interface FileFact {
  readonly path: string;
  readonly uid: number;
  /** The twelve bits of chmod(2). */
  readonly mode: number;
}

/** null: it is not there, or may not be looked at. */
export interface FileFacts {
  readonly runtime: FileFact | null;
  readonly state: FileFact | null;
  readonly config: FileFact | null;
  readonly socket: FileFact | null;
  readonly tokens: FileFact | null;
}

export interface OwnSocket {
  readonly service: string;
  readonly pid: number;
  readonly command: string;
  readonly host: string;
  readonly port: number;
}
