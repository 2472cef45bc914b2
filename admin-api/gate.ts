/**
 * What a request must pass before its route is reached, in this order: it is not too long, it is meant for this host,
 * someone is known to ask, not too often, not through another site's page, and with a role that is enough.
 */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";

import type { FastifyRequest } from "fastify";

import type { Access } from "./access.ts";
import { certificateOf, type DoorKind, type Entrance } from "./door.ts";
import {
  forbidden,
  hostNotServed,
  originForbidden,
  rateLimited,
  routeUnknown,
  serviceForbidden,
  uriTooLong,
} from "./errors.ts";
import type {} from "./operation.ts";
import type { Caller, Operations } from "./operations.ts";
import { type Rate, RateLimit } from "./rate.ts";
import { allows } from "./roles.ts";

const URI_LIMIT = 4096;
/** All that a door for metrics has. */
const METRICS_ROUTES: readonly (string | undefined)[] = ["/metrics", "/healthz"];

export interface RateLimits {
  /** Of one caller. */
  readonly reads: Rate;
  readonly changes: Rate;
  /** Of one address, for requests that say nothing good about who asks. */
  readonly strangers: Rate;
}

export const RATE_LIMITS: RateLimits = {
  reads: { perSecond: 5000, burst: 10_000 },
  changes: { perSecond: 50, burst: 200 },
  strangers: { perSecond: 2, burst: 50 },
};

export interface GateOptions {
  readonly access: Access;
  readonly operations: Operations;
  readonly entranceOf: (request: FastifyRequest) => Entrance;
  readonly limits: RateLimits;
}

export class Gate {
  readonly #access: Access;
  readonly #operations: Operations;
  readonly #entranceOf: (request: FastifyRequest) => Entrance;
  readonly #reads: RateLimit;
  readonly #changes: RateLimit;
  readonly #strangers: RateLimit;
  readonly #callers = new WeakMap<FastifyRequest, Caller>();

  constructor({ access, operations, entranceOf, limits }: GateOptions) {
    this.#access = access;
    this.#operations = operations;
    this.#entranceOf = entranceOf;
    this.#reads = new RateLimit(limits.reads);
    this.#changes = new RateLimit(limits.changes);
    this.#strangers = new RateLimit(limits.strangers);
  }

  /** null until the request has said who asks. */
  callerOf(request: FastifyRequest): Caller | null {
    return this.#callers.get(request) ?? null;
  }

  /** Why the request may not go on; undefined: it may. */
  refusalOf(request: FastifyRequest): Error | undefined {
    try {
      this.#admit(request);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /**
   * Whether someone whom the kernel has named may look, as `refusalOf` would have it. Where it says no, that says why; it has
   * counted nothing then.
   */
  mayLook({ door, peer }: Entrance, { headers }: IncomingMessage): boolean {
    if (door.kind !== "unix" || peer === null || isRebound(door, headers)) return false;
    const caller = this.#access.ofPeer(peer);
    return allows(caller.role, "read") && this.#reads.take(keyOf(caller)) === 0;
  }

  #admit(request: FastifyRequest): void {
    const { door } = this.#entranceOf(request);
    const { url, config } = request.routeOptions;
    if (request.url.length > URI_LIMIT) throw uriTooLong(URI_LIMIT);
    const changes = isChange(request);
    const needed = config.role ?? (changes ? "admin" : "read");
    // What anyone may see is no secret: the page can be loaded through a proxy, and sends its token from then on.
    if ((door.kind === "metrics" || needed !== "anyone") && isRebound(door, request.headers))
      throw hostNotServed();
    if (door.kind === "metrics") {
      if (!METRICS_ROUTES.includes(url)) throw routeUnknown(pathOf(request));
      this.#count(this.#reads, `address ${networkOf(request)}`);
      return;
    }
    if (needed === "anyone") {
      this.#count(this.#reads, `address ${networkOf(request)}`);
      return;
    }
    const caller = this.#identify(request);
    this.#callers.set(request, caller);
    this.#count(changes ? this.#changes : this.#reads, keyOf(caller));
    if (changes && isForeign(request)) throw originForbidden();
    // Nobody learns more of an address that is not there than that.
    if (request.is404) return;
    if (!allows(caller.role, needed)) {
      throw forbidden(caller.name, caller.role, needed, `${request.method} ${url ?? ""}`);
    }
  }

  /** For a caller that may change some services only; null: it is none. Rejects with what the deploy's look-up throws. */
  admitService(request: FastifyRequest): Promise<void> | null {
    const caller = this.callerOf(request);
    if (caller?.services == null || !isChange(request) || request.is404) return null;
    return this.#admitService(request, caller.name, caller.services);
  }

  async #admitService(request: FastifyRequest, name: string, services: readonly string[]): Promise<void> {
    const { service = null, id } = request.params as { readonly service?: string; readonly id?: string };
    const about = id === undefined ? service : (await this.#operations.getDeploy(id)).service;
    if (about === null || !services.includes(about)) {
      throw serviceForbidden(name, services, about);
    }
  }

  #identify(request: FastifyRequest): Caller {
    const { door, peer } = this.#entranceOf(request);
    if (peer !== null) return this.#access.ofPeer(peer);
    try {
      const { remoteAddress = "?", remotePort = 0 } = request.raw.socket;
      return this.#access.ofTcp({
        address: `${remoteAddress}:${remotePort}`,
        isLoopback: door.kind === "tcp" && door.isLoopback,
        authorization: request.headers.authorization,
        certificate: certificateOf(request.raw.socket),
      });
    } catch (error) {
      this.#count(this.#strangers, networkOf(request));
      throw error;
    }
  }

  #count(limit: RateLimit, who: string): void {
    const seconds = limit.take(who);
    if (seconds > 0) throw rateLimited(seconds);
  }
}

export function isChange({ method }: FastifyRequest): boolean {
  return method !== "GET" && method !== "HEAD";
}

/** Without the query, in which someone may have put what is not ours to repeat. */
export function pathOf({ url }: FastifyRequest): string {
  return url.split("?")[0] ?? "/";
}

/** The same for all that one caller asks, and for nobody else. */
export function keyOf(caller: Caller): string {
  return caller.transport === "unix" ? `uid ${caller.uid}` : `name ${caller.name}`;
}

/** An IPv6 host has a whole /64 of addresses. */
function networkOf(request: FastifyRequest): string {
  const address = request.raw.socket.remoteAddress ?? "unix";
  return address.includes(".") ? address : address.split(":").slice(0, 4).join(":");
}

/**
 * DNS rebinding: a page makes its own name resolve to this host, and then its requests are not foreign to the browser.
 * By TCP it has no token to send, so what a proxy passes on with one may have any name. A unix socket asks for none:
 * someone may have forwarded it to a port of their own, for the page. What asks there may call the host whatever it
 * likes, as curl's `http://handoffd/`, but a name that a stranger can make resolve has a dot in it.
 */
function isRebound(door: DoorKind, headers: IncomingHttpHeaders): boolean {
  const name = (headers.host ?? "").replace(/:\d+$/u, "").toLowerCase();
  if (name === "localhost" || name === "[::1]" || /^127(?:\.\d{1,3}){3}$/u.test(name)) return false;
  if (door.kind === "unix") return name.includes(".");
  return door.isLoopback && headers.authorization === undefined;
}

/** Browsers say from where a page asks; nobody else does. */
function isForeign({ headers }: FastifyRequest): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none") return true;
  const { origin, host } = headers;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== host?.toLowerCase();
}
