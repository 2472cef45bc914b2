/**
 * Who is at the other end of a connection, and what they may do.
 *
 * On the unix socket the kernel knows (SO_PEERCRED): the credentials of the process that connected, at the time when
 * it did. Who may connect at all is the socket file's owner and mode. By TCP it is a bearer token, or a certificate
 * that TLS has verified; without either, only a loopback address, and only to look.
 */
import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";

import { native } from "../handoff/native.ts";
import { notAuthenticated, tokenRefused } from "./errors.ts";
import type { TcpCaller, UnixCaller } from "./operations.ts";
import { grantedTo, type Role, type RoleGrant } from "./roles.ts";
import { findCertificate, findToken, type TokenEntry } from "./tokens.ts";

/** Who connected to the unix socket, in the kernel's words. */
export interface Peer {
  /** May have ended, or handed its connection on: for the log, never for a decision. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Node keeps the handle to itself, but there is no other way to the descriptor of an accepted connection. */
interface WithHandle {
  readonly _handle?: { readonly fd?: number } | null;
}

/** Throws when the connection is closed already or is not a unix socket's. */
export function peerOf(socket: Socket): Peer {
  const descriptor = (socket as unknown as WithHandle)._handle?.fd ?? -1;
  if (descriptor < 0) throw new Error("the connection was closed before its peer could be asked for");
  return native.peerCredentials(descriptor);
}

export interface AccessPolicy {
  /** Of the unix socket. Empty: whoever may connect may do everything. */
  readonly grants: readonly RoleGrant[];
  /** Of the API by TCP; null: there is no file of them. */
  readonly tokens: readonly TokenEntry[] | null;
  /** Whether client certificates are asked for. Without `tokens` they may look. */
  readonly certificates: boolean;
}

/** What a request by TCP brings. */
export interface Presented {
  /** `10.0.0.7:41234`. */
  readonly address: string;
  /** Whether the listener can be reached from this host only. */
  readonly isLoopback: boolean;
  /** The header Authorization. */
  readonly authorization: string | undefined;
  /** Verified by TLS. */
  readonly certificate: { readonly x509: X509Certificate; readonly commonName: string | null } | null;
}

export class Access {
  #policy: AccessPolicy;
  /** Of connections that are open: the user database is not asked at each request. */
  #callers = new WeakMap<Peer, UnixCaller>();
  readonly #now: () => number;

  constructor(
    policy: AccessPolicy = { grants: [], tokens: null, certificates: false },
    /** Milliseconds since the epoch. */
    now: () => number = Date.now,
  ) {
    this.#policy = policy;
    this.#now = now;
  }

  /** From the next request on, on connections that are open already too. */
  replace(policy: AccessPolicy): void {
    this.#policy = policy;
    this.#callers = new WeakMap();
  }

  /** A caller whose role is null is known and may do nothing. */
  ofPeer(peer: Peer): UnixCaller {
    const known = this.#callers.get(peer);
    if (known !== undefined) return known;
    const { pid, uid, gid } = peer;
    const user = native.lookupUser(uid);
    const name = user === null ? `uid ${uid}` : `${user.name} (uid ${uid})`;
    const role = this.#roleOf(uid, gid, user?.name);
    const caller: UnixCaller = { transport: "unix", pid, uid, gid, name, role, services: null };
    this.#callers.set(peer, caller);
    return caller;
  }

  #roleOf(uid: number, gid: number, user: string | undefined): Role | null {
    const { grants } = this.#policy;
    if (grants.length === 0 || uid === 0 || uid === process.getuid?.()) return "admin";
    const groups =
      grants.some(({ to }) => to === "group") && user !== undefined ? native.groupsOf(user, gid) : [];
    return grantedTo(grants, uid, new Set([gid, ...groups]));
  }

  /** Throws NOT_AUTHENTICATED or TOKEN_REFUSED. A caller whose role is null is known and may do nothing. */
  ofTcp({ address, isLoopback, authorization, certificate }: Presented): TcpCaller {
    const { tokens, certificates } = this.#policy;
    if (authorization !== undefined) {
      const token = /^Bearer +([A-Za-z0-9._~+/=-]+) *$/iu.exec(authorization)?.[1];
      if (token === undefined) throw tokenRefused("the header Authorization is not Bearer and a token");
      const entry = findToken(tokens ?? [], token);
      if (entry === null) throw tokenRefused("the token is not known");
      return this.#entitled(entry, address);
    }
    if (certificate !== null) {
      const { x509, commonName } = certificate;
      const name = commonName ?? "a certificate";
      if (tokens === null) return { transport: "tcp", address, name, role: "read", services: null };
      const entry = findCertificate(tokens, x509, commonName);
      if (entry === null) return { transport: "tcp", address, name, role: null, services: null };
      return this.#entitled(entry, address);
    }
    if (tokens !== null || certificates || !isLoopback) throw notAuthenticated();
    return { transport: "tcp", address, name: "anonymous", role: "read", services: null };
  }

  #entitled({ name, role, services, expiresAt }: TokenEntry, address: string): TcpCaller {
    if (expiresAt !== null && this.#now() >= expiresAt)
      throw tokenRefused(`the credential of ${name} has expired`);
    return { transport: "tcp", address, name, role, services };
  }
}
