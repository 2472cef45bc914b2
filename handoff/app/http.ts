/**
 * The connections of an HTTP/1.1 server in a drain. Idle ones move, busy ones as soon as they are idle. Where nobody can take them
 * they are told by `Connection: close` with their next answer; none is closed under a client, who may just be asking.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Server as NetServer, type Socket } from "node:net";
import { type Adapter, type Draining, kindOf, LookAgain } from "./adapter.ts";
import {
  adopt,
  connectionCount,
  connectionsOf,
  descriptorOf,
  idleParsers,
  isIdle,
  mute,
  pendingResponse,
  rest,
  startReading,
  stopReading,
} from "./private.ts";
import type { Parcel } from "./route.ts";
import type { Arrived } from "./taker.ts";

const NOTHING = new Uint8Array(0);
/** The state of a connection on which nothing was ever said: the time in which its headers must come begins anew. */
const FRESH = Uint8Array.of(1);

/** A connection whose end of being busy gives no event (one of several pipelined requests, an upload behind its answer) is looked at again. */
const ASK_AGAIN_MS = 250;

/** Of node:http or node:https, whose servers have these in common, and no class. */
export type HttpServer = NetServer & { readonly keepAliveTimeout: number };

export class HttpAdapter implements Adapter {
  readonly kind: string | null;
  readonly listener: string;
  readonly #server: HttpServer;
  /** null: the server is asked for them when it is time. A new connection costs nothing until then. */
  readonly #sockets: Set<Socket> | null;
  /** Of a drain: those that may be idle. */
  readonly #candidates = new Set<Socket>();
  /** Of a drain: those that are on the way, and nobody's. */
  readonly #leaving = new WeakSet<Socket>();
  /** Those that came between two requests: that they have said nothing here does not make them new. */
  readonly #rested = new WeakSet<Socket>();
  #draining: Draining | null = null;
  readonly #again = new LookAgain(ASK_AGAIN_MS, () => {
    this.retry();
    this.#draining?.wake();
  });
  #idle: ReadonlySet<unknown> | null = null;

  /** `moves`: whether private parts of Node may be used, and the bytes on the wire are the server's own (no TLS). */
  constructor(server: HttpServer, listener: string, moves: boolean) {
    this.#server = server;
    this.listener = listener;
    this.kind = moves ? kindOf("http", listener) : null;
    this.#sockets = this.kind === null ? this.#watched() : null;
  }

  /** With those that speak something else by now. */
  get left(): number {
    return this.#sockets?.size ?? connectionCount(this.#server) ?? 0;
  }

  #watched(): Set<Socket> {
    const sockets = new Set<Socket>();
    this.#server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.once("close", () => {
        sockets.delete(socket);
        this.#draining?.changed();
      });
    });
    return sockets;
  }

  drain(draining: Draining): void {
    this.#draining = draining;
    // Not HttpServer's close(): that closes idle connections at once, under a client that may just be asking.
    NetServer.prototype.close.call(this.#server);
    // Whoever listens to these answers in place of "request".
    const events = ["request", "checkContinue", "checkExpectation"].filter(
      (name) => name === "request" || this.#server.listenerCount(name) > 0,
    );
    for (const name of events) {
      this.#server.prependListener(name, (request: IncomingMessage, response: ServerResponse) => {
        this.#watch(request, response);
      });
    }
    if (this.kind === null) return;
    this.#server.once("close", () => draining.changed());
    for (const socket of connectionsOf(this.#server)) {
      const response = pendingResponse(socket);
      if (response === null) this.#candidates.add(socket);
      else this.#watch(response.req, response);
    }
  }

  next(): Parcel | null {
    for (const socket of this.#candidates) {
      // What is not idle now comes back when its request has ended.
      this.#candidates.delete(socket);
      if (!this.#leaving.has(socket) && isIdle(socket, this.#idleNow())) return this.#parcel(socket);
    }
    if (this.left > 0) this.#again.soon();
    return null;
  }

  /** Asked for once in a turn of the loop: it costs as much for one connection as for a thousand. */
  #idleNow(): ReadonlySet<unknown> {
    if (this.#idle === null) {
      this.#idle = idleParsers(this.#server);
      queueMicrotask(() => (this.#idle = null));
    }
    return this.#idle;
  }

  retry(): void {
    if (this.#draining === null) return;
    for (const socket of connectionsOf(this.#server)) this.#candidates.add(socket);
  }

  adopt(fd: number): Socket {
    return adopt(this.#server, fd);
  }

  serve(socket: Socket, { state }: Arrived): void {
    this.#server.emit("connection", socket);
    if (state[0] === FRESH[0]) return;
    rest(socket);
    this.#rested.add(socket);
    closeWhenIdle(socket, this.#server.keepAliveTimeout);
  }

  #parcel(socket: Socket): Parcel {
    const isFresh = socket.bytesRead === 0 && !this.#rested.has(socket);
    const timeout = socket.timeout ?? 0;
    this.#leaving.add(socket);
    stopReading(socket);
    socket.setTimeout(0);
    mute(socket, true);
    return {
      kind: this.kind ?? "",
      fd: descriptorOf(socket) ?? -1,
      state: isFresh ? FRESH : NOTHING,
      unread: NOTHING,
      taken: () => {
        socket.destroy();
        return null;
      },
      back: () => {
        this.#leaving.delete(socket);
        if (socket.destroyed) return;
        mute(socket, false);
        socket.setTimeout(timeout);
        this.#candidates.add(socket);
        startReading(socket);
      },
    };
  }

  /** A request of a drain. */
  #watch(request: IncomingMessage, response: ServerResponse): void {
    if (this.#draining?.movable(this.kind) !== true) {
      if (!response.headersSent) response.setHeader("Connection", "close");
      response.shouldKeepAlive = false;
    }
    if (this.kind === null) return;
    const consider = (): void => {
      if (request.socket.destroyed) return;
      this.#candidates.add(request.socket);
      this.#draining?.wake();
    };
    // The answer may end before its request, or after it.
    response.once("close", consider);
    request.once("close", consider);
  }
}

/** As Node does it after an answer, with a time of its own: how long it was idle elsewhere is not known here. */
function closeWhenIdle(socket: Socket, keepAliveTimeoutMs: number): void {
  if (!(keepAliveTimeoutMs > 0)) return;
  const timer = setTimeout(() => {
    if (socket.bytesRead === 0) socket.destroy();
  }, keepAliveTimeoutMs);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
}
