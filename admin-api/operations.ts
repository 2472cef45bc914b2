/**
 * The port between speaking and acting: all that the API may ask of the daemon. The daemon's supervisor
 * implements it; so does the fake of the tests.
 *
 * Whatever is refused or fails as expected is thrown as a CodedError, whose code problem.ts turns into a status.
 */
import type { EventLog } from "./events.ts";
import type { Role } from "./roles.ts";
import type { DeployQuery, DeployRequest } from "./request-schemas.ts";
import type {
  Deploy,
  DeployList,
  Diagnosis,
  Generation,
  Health,
  Reload,
  Service,
  Status,
  Upgrade,
} from "./schemas.ts";

export type Awaitable<T> = T | Promise<T>;

interface Known {
  /** For people and for `requestedBy`: "root (uid 0)", "uid 1000" where the uid has no name, a token's name. */
  readonly name: string;
  /** null: known, and allowed nothing. */
  readonly role: Role | null;
  /** The only services that it may change; null: all of them. */
  readonly services: readonly string[] | null;
}

/** Who asks, as the kernel recorded it when the connection was made. */
export interface UnixCaller extends Known {
  readonly transport: "unix";
  /** May have ended, or handed its connection on: for the log, never for a decision. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Who asks, as its token or its certificate says. */
export interface TcpCaller extends Known {
  readonly transport: "tcp";
  /** `10.0.0.7:41234`. */
  readonly address: string;
}

export type Caller = UnixCaller | TcpCaller;

export interface MetricsPage {
  readonly contentType: string;
  readonly body: string;
}

export interface HoldOptions {
  /** The generation that serves goes on running without new connections, instead of draining and ending. */
  readonly idles: boolean;
}

export interface Operations {
  /** Not ready while a service has no generation that serves; the reasons are sentences. */
  health(): Health;
  status(): Status;
  metrics(): Awaitable<MetricsPage>;
  /** The host, the unit and the applications as the daemon sees them. Changes nothing. */
  doctor(): Promise<Diagnosis>;

  /** Accepts a deploy and returns its record at once; what becomes of it is seen by `getDeploy` and the events. */
  deploy(service: string, request: DeployRequest, caller: Caller): Awaitable<Deploy>;
  /** While the previous generation bakes, that deploy gives its traffic back; afterwards a deploy of its release. */
  rollback(service: string, caller: Caller): Awaitable<Deploy>;
  /** A deploy of the release that is current. */
  restart(service: string, caller: Caller): Awaitable<Deploy>;

  /** New connections wait in the queue of a slot that nobody serves. Asked for again it changes nothing. */
  hold(service: string, options: HoldOptions, caller: Caller): Awaitable<Service>;
  /** Ends a hold by a deploy of the same release on the slot that holds the queue. */
  resume(service: string, caller: Caller): Awaitable<Deploy>;
  /** How many instances the current generation and those after it are to have, until the configuration says otherwise. */
  scale(service: string, instances: number, caller: Caller): Awaitable<Service>;
  /**
   * A draining generation is ended now: what is left of it is killed. Returns when that is written down. Throws
   * GENERATION_UNKNOWN, and GENERATION_IN_USE for one that does not drain.
   */
  endGeneration(service: string, number: number, caller: Caller): Awaitable<Generation>;
  /** Reads the configuration again. Resolves when all of it is applied but for what it names; rejects when nothing is. */
  reload(requestedBy: string): Awaitable<Reload>;

  /** The newest first. Throws SERVICE_UNKNOWN for a service that is neither configured nor remembered. */
  listDeploys(query: DeployQuery): Awaitable<DeployList>;
  getDeploy(id: string): Awaitable<Deploy>;
  promote(id: string, caller: Caller): Awaitable<Deploy>;
  abort(id: string, caller: Caller): Awaitable<Deploy>;
  pause(id: string, caller: Caller): Awaitable<Deploy>;
  continueDeploy(id: string, caller: Caller): Awaitable<Deploy>;

  /**
   * Tries the program that the daemon was started with, as it is by now, and then replaces the daemon by it. Resolves when the
   * trial was passed; what becomes of the rest is seen in the events. Throws UPGRADE_REFUSED, and nothing has changed.
   */
  upgrade(caller: Caller): Promise<Upgrade>;

  /**
   * Every change of a deploy's record is followed by an event that bears its id in `deploy`: readers of
   * `/v1/deploys/{id}/events` look at the record again when one arrives, and at no other time.
   */
  readonly events: EventLog;
}
