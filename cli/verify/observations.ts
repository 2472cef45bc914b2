/**
 * What was seen of a service under load and deploys: data, and nothing that judges it. Instants are milliseconds since the epoch, of
 * one clock: clients, daemon and application are on one host.
 */
import type { Deploy, Event } from "../../admin-api/schemas.ts";

/** Of each listener: requests on new connections, on kept ones, long answers, kept ones that rest; and where it is no HTTP, connections. */
export const LOADS = ["new", "keep-alive", "streaming", "idle", "connect"] as const;
export type LoadName = (typeof LOADS)[number];

/**
 * - refused: no connection came about
 * - reset: a new connection ended before the head of its first answer
 * - reuse: the same of a kept connection, with the request already sent
 * - cut: the connection ended within an answer, or what came was none
 * - unanswered: nothing came for so long that nobody would wait
 * - late: whole, but long after what is usual
 * - status: another status than the one before the first deploy
 */
export const LOSSES = ["refused", "reset", "reuse", "cut", "unanswered", "late", "status"] as const;
export type LossKind = (typeof LOSSES)[number];

export interface Loss {
  readonly listener: string;
  readonly load: LoadName;
  readonly kind: LossKind;
  /** When the client knew. */
  readonly at: number;
  /** When its connection came about, or was asked for where none did. */
  readonly openedAt: number;
  /** The system's word for it (ECONNRESET), or the status; null: there was only silence. */
  readonly code: string | null;
}

/** A kept connection that the application closed between two requests: no loss here, and a chance of one everywhere. */
export interface IdleClose {
  readonly listener: string;
  readonly at: number;
  readonly openedAt: number;
}

export interface LoadCount {
  readonly listener: string;
  readonly load: LoadName;
  readonly requests: number;
  readonly lost: number;
  readonly connections: number;
  readonly slowestMs: number;
}

export interface ListenerFacts {
  readonly name: string;
  /** As a client on this host reaches it. */
  readonly address: string;
  readonly speaks: "http" | "unknown";
  readonly path: string;
  readonly streamPath: string | null;
  /** Of the answers before the first deploy; null: none came, or it is no HTTP. */
  readonly status: number | null;
  readonly keepsConnections: boolean;
}

/** Descriptors of an application at rest: after its first requests, and after `requests` more, each time. */
export interface DescriptorCounts {
  readonly requests: number;
  readonly counts: readonly number[];
}

/** A process that outlived the generation that had started it. */
export interface Leftover {
  readonly pid: number;
  readonly command: string;
  readonly generation: number;
}

/** What the processes of a generation that was not serving yet did with sockets. */
export interface SocketUse {
  readonly generation: number;
  /** Where it listens by itself, as 127.0.0.1:3000. */
  readonly elsewhere: string | null;
  /** Some process of it has the listener's socket open. */
  readonly hasOurs: boolean;
  /** The name of a child without the socket that its parent has. */
  readonly childWithout: string | null;
}

/** A generation that did not end within drain.timeout, and was killed. */
export interface Retirement {
  readonly generation: number;
  /** The instances themselves had ended by then; only children of theirs were left. */
  readonly childrenOnly: boolean;
}

export interface Observations {
  readonly service: string;
  readonly strategy: Deploy["strategy"];
  readonly readyBy: "notify" | "listening" | "http" | "delay";
  readonly drainTimeoutMs: number;
  /** The start of the first generation. */
  readonly start: Deploy;
  readonly deploys: readonly Deploy[];
  readonly wanted: number;
  readonly listeners: readonly ListenerFacts[];
  readonly counts: readonly LoadCount[];
  readonly losses: readonly Loss[];
  readonly idleCloses: readonly IdleClose[];
  /** All that the daemon has said of the service. */
  readonly events: readonly Event[];
  readonly sockets: readonly SocketUse[];
  readonly retirements: readonly Retirement[];
  readonly leftovers: readonly Leftover[];
  /** Paths of unix sockets that were gone while the service ran. */
  readonly missingPaths: readonly string[];
  readonly descriptors: DescriptorCounts | null;
  /** The application's last words. */
  readonly output: readonly string[];
  readonly readyWithinMs: number;
}
