/**
 * The sockets by which requests come in. Every door leads to the same routes; what differs is who may use it:
 *
 *   unix      the kernel says who connects
 *   tcp       a token or a certificate says it; on a loopback address without either, anyone may look
 *   metrics   nobody is asked, and there is nothing but /metrics and /healthz
 *
 * A door's socket was bound by someone else, and its descriptor is consumed. Time limits and the number of
 * connections hold for each door alone, so that strangers on one cannot shut the other.
 */
import type { X509Certificate } from "node:crypto";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer, Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import type { FastifyBaseLogger } from "fastify";

import type { Peer } from "./access.ts";
import { refuseMalformed } from "./malformed.ts";

export interface DoorTls {
  /** PEM each. */
  readonly cert: string;
  readonly key: string;
  /** Who signs client certificates; null: none is asked for. */
  readonly clientCa: string | null;
}

export type DoorKind =
  | { readonly kind: "unix" }
  | { readonly kind: "tcp"; readonly isLoopback: boolean; readonly tls: DoorTls | null }
  | { readonly kind: "metrics"; readonly isLoopback: boolean };

/** All that is read of a request's line and headers, in bytes. */
export const HEADER_LIMIT = 16 * 1024;
/** Of one door. Event streams are connections too. */
const CONNECTIONS = 1024;
/** Longer than any answer may be waited for (`?wait=`) and than the heart-beat of a stream. */
const SILENCE_MS = 120_000;
const REFUSALS_LOGGED_EVERY_MS = 10_000;

/** In milliseconds: for how long a client may take to say what it wants. */
export interface DoorTimes {
  /** From the connection to the last header. */
  readonly headersMs: number;
  /** From the connection to the end of the body. */
  readonly requestMs: number;
  /** For TLS to be agreed on. */
  readonly handshakeMs: number;
  /** How late the first two may be noticed. */
  readonly lookMs: number;
}

export const DOOR_TIMES: DoorTimes = {
  headersMs: 10_000,
  requestMs: 30_000,
  handshakeMs: 10_000,
  lookMs: 2_000,
};

export interface DoorOptions {
  readonly times: DoorTimes;
  readonly log: FastifyBaseLogger;
  /** access.ts has the real one. Called once per connection of a unix door; what it throws closes the connection. */
  readonly peerOf: (socket: Socket) => Peer;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
}

/** Where a request came in. */
export interface Entrance {
  readonly door: DoorKind;
  /** Of a unix door. */
  readonly peer: Peer | null;
}

export class Door {
  readonly kind: DoorKind;
  readonly server: Server;

  /** `entrances` gets an entry for each request that comes in. Throws what the TLS library says of a bad certificate. */
  constructor(kind: DoorKind, entrances: WeakMap<IncomingMessage, Entrance>, options: DoorOptions) {
    const { log, peerOf, handle, times } = options;
    const peers = new WeakMap<Socket, Peer>();
    this.kind = kind;
    this.server = serverOf(kind, times, (request, response) => {
      const peer = peers.get(request.socket) ?? null;
      // Its connection was closed when the peer could not be asked for.
      if (kind.kind === "unix" && peer === null) return void request.socket.destroy();
      entrances.set(request, { door: kind, peer });
      handle(request, response);
    });
    this.server.maxConnections = CONNECTIONS;
    // Destroys what is silent: a client that does not read its answer holds a connection no longer than that.
    this.server.setTimeout(SILENCE_MS);
    this.server.on("clientError", refuseMalformed);
    this.server.on(
      "drop",
      rarely(() => log.warn({ door: kind.kind }, "connections refused: too many are open")),
    );
    if (kind.kind !== "unix") return;
    // As soon as the connection is there: later it may be closed, and nobody could be named.
    this.server.prependListener("connection", (socket: Socket) => {
      try {
        peers.set(socket, peerOf(socket));
      } catch (error) {
        log.warn({ err: error }, "connection closed: its peer is unknown");
        socket.destroy();
      }
    });
  }

  /** Serves on a bound and listening socket. The descriptor is consumed, even on failure. */
  async listenOn(descriptor: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen({ fd: descriptor }, () => {
        this.server.off("error", reject);
        resolve();
      });
    });
  }

  /** Another certificate, for the connections that begin from now on. The door has TLS already. */
  renew({ cert, key, clientCa }: DoorTls): void {
    if (!(this.server instanceof HttpsServer)) throw new Error("a door without TLS cannot get a certificate");
    this.server.setSecureContext({ cert, key, ...(clientCa !== null && { ca: clientCa }) });
  }

  /**
   * Takes nothing new, and resolves when what was asked has been answered. Connections that are still open after
   * `patienceMs` are cut. A unix socket's path stays.
   */
  async close(patienceMs?: number): Promise<void> {
    if (!this.server.listening) return;
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeIdleConnections();
    const late =
      patienceMs === undefined ? undefined : setTimeout(() => this.server.closeAllConnections(), patienceMs);
    await closed;
    clearTimeout(late);
  }
}

function serverOf(
  kind: DoorKind,
  { headersMs, requestMs, handshakeMs, lookMs }: DoorTimes,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const options = {
    maxHeaderSize: HEADER_LIMIT,
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    keepAliveTimeout: 15_000,
    connectionsCheckingInterval: lookMs,
  } satisfies ServerOptions;
  if (kind.kind !== "tcp" || kind.tls === null) return createHttpServer(options, handle);
  const { cert, key, clientCa } = kind.tls;
  // A certificate that is not of this CA is as good as none: whoever has a token needs no certificate.
  const clients = clientCa === null ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: false };
  return createHttpsServer(
    { ...options, cert, key, ...clients, minVersion: "TLSv1.2", handshakeTimeout: handshakeMs },
    handle,
  );
}

/** The client's certificate, when there is one that the door's CA has signed. */
export function certificateOf(
  socket: Socket,
): { readonly x509: X509Certificate; readonly commonName: string | null } | null {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null;
  const x509 = socket.getPeerX509Certificate();
  if (x509 === undefined) return null;
  // A subject with several CNs has an array here, and none of them is taken for its name.
  const commonName: unknown = socket.getPeerCertificate().subject.CN;
  return { x509, commonName: typeof commonName === "string" ? commonName : null };
}

function rarely(act: () => void): () => void {
  let last = -Infinity;
  return () => {
    const now = performance.now();
    if (now - last < REFUSALS_LOGGED_EVERY_MS) return;
    last = now;
    act();
  };
}
