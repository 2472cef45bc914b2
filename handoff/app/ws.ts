/**
 * The web sockets of a server of the package `ws` in a drain. They move between two frames, with the bytes of the next one that are there
 * already; those that cannot (compression, TLS, nobody to take them) are told 1012, "service restart", each at a moment of its own, so
 * that not all come back at once.
 *
 *   old generation: the object closes (1012, "moved")     new generation: "connection" comes, with the request that it began with
 */
import { IncomingMessage } from "node:http";
import type { Server as NetServer, Socket } from "node:net";
import { type Adapter, type Draining, kindOf, LookAgain, Saying } from "./adapter.ts";
import { adopt } from "./private.ts";
import { isLeaving, Quiet } from "./quiet.ts";
import type { Parcel } from "./route.ts";
import type { Arrived } from "./taker.ts";
import {
  build,
  markMoved,
  partialFrame,
  socketOf,
  type WebSocket,
  type WebSocketServer,
} from "./ws-private.ts";
import { LONGEST_ITEM } from "./wire.ts";

/** What `serve` wants to know of web sockets; the server alone, where a connection has no state of its own. */
export interface WebSocketMover {
  readonly server: WebSocketServer;
  /** What the next generation needs to know of this connection. Changes nothing. null: not now. */
  readonly save?: (socket: WebSocket) => Uint8Array | null;
  /** Goes on with a connection, in place of a "connection" event. */
  readonly restore?: (socket: WebSocket, state: Uint8Array, request: IncomingMessage) => void;
}

interface Begun {
  readonly protocol: string;
  readonly method: string;
  readonly url: string;
  readonly headers: readonly string[];
}

const SERVICE_RESTART = 1012;
/** What is between two frames, or is not, gives no event. */
const ASK_AGAIN_MS = 10;
/** Over so long the farewells are spread, where the deadline leaves it. */
const SPREAD_MS = 10_000;
const NOTHING = new Uint8Array(0);

export class WsAdapter implements Adapter {
  readonly kind: string | null;
  readonly listener: string;
  readonly #server: NetServer;
  readonly #mover: WebSocketMover;
  readonly #saying: Saying<WebSocket>;
  /** Those that came from another generation. The others are the HTTP server's to count. */
  readonly #adopted = new Set<Socket>();
  readonly #begun = new WeakMap<WebSocket, Begun>();
  readonly #farewells = new Map<WebSocket, NodeJS.Timeout>();
  #candidates = new Set<WebSocket>();
  #draining: Draining | null = null;
  readonly #again = new LookAgain(ASK_AGAIN_MS, () => {
    for (const socket of this.#mover.server.clients) this.#consider(socket);
    this.#draining?.wake();
    this.#askAgain();
  });

  /** `moves`: the private parts of ws are as they must be, and there is no TLS. `complain`: on standard error. */
  constructor(
    server: NetServer,
    listener: string,
    mover: WebSocketMover,
    moves: boolean,
    complain: (what: string) => void,
  ) {
    this.#server = server;
    this.#mover = mover;
    this.#saying = new Saying(
      (socket) => (mover.save === undefined ? NOTHING : mover.save(socket)),
      complain,
    );
    this.listener = listener;
    this.kind = moves ? kindOf("ws", listener) : null;
    mover.server.on("connection", (socket: WebSocket, request: IncomingMessage) => {
      const { method = "GET", url = "/", rawHeaders: headers } = request;
      this.#begun.set(socket, { protocol: socket.protocol, method, url, headers });
      if (this.#draining === null) return;
      this.#consider(socket);
      this.#draining.wake();
      this.#askAgain();
    });
  }

  get left(): number {
    return this.#adopted.size;
  }

  drain(draining: Draining): void {
    this.#draining = draining;
    for (const socket of this.#mover.server.clients) this.#consider(socket);
    this.#askAgain();
  }

  next(): Parcel | null {
    for (const socket of this.#candidates) {
      this.#candidates.delete(socket);
      const parcel = this.#parcel(socket);
      if (parcel !== null) return parcel;
    }
    return null;
  }

  retry(): void {
    if (this.#draining !== null) this.#candidates = new Set(this.#mover.server.clients);
  }

  adopt(fd: number): Socket {
    return adopt(this.#server, fd, { paused: true });
  }

  serve(socket: Socket, { state, unread }: Arrived): void {
    this.#adopted.add(socket);
    socket.once("close", () => {
      this.#adopted.delete(socket);
      this.#draining?.changed();
    });
    const { begun, own } = unpack(state);
    const request = new IncomingMessage(socket);
    request.method = begun.method;
    request.url = begun.url;
    request.httpVersionMajor = request.httpVersionMinor = 1;
    request.httpVersion = "1.1";
    request.rawHeaders = [...begun.headers];
    for (let at = 0; at + 1 < begun.headers.length; at += 2) {
      const name = (begun.headers[at] ?? "").toLowerCase();
      const value = begun.headers[at + 1] ?? "";
      const before = request.headers[name];
      request.headers[name] = before === undefined ? value : `${String(before)}, ${value}`;
    }
    const webSocket = build(this.#mover.server, socket, begun.protocol, unread);
    this.#begun.set(webSocket, begun);
    if (this.#mover.restore === undefined) this.#mover.server.emit("connection", webSocket, request);
    else this.#mover.restore(webSocket, own, request);
  }

  /** Moves when it can, and is told to come back when it cannot. */
  #consider(socket: WebSocket): void {
    this.#candidates.add(socket);
    if (!this.#canMove(socket)) this.#sayFarewell(socket);
  }

  #canMove(socket: WebSocket): boolean {
    return socket.extensions === "" && this.#draining?.movable(this.kind) === true;
  }

  #sayFarewell(socket: WebSocket): void {
    if (this.#farewells.has(socket) || this.#draining === null) return;
    const spreadMs = Math.min(SPREAD_MS, this.#draining.remainingMs() / 4);
    const timer = setTimeout(() => {
      this.#farewells.delete(socket);
      // Somebody may have come who takes it.
      if (!this.#canMove(socket)) socket.close(SERVICE_RESTART, "service restart");
    }, Math.random() * spreadMs);
    this.#farewells.set(socket, timer);
    socket.on("close", () => {
      clearTimeout(timer);
      this.#farewells.delete(socket);
    });
  }

  #askAgain(): void {
    if (this.#mover.server.clients.size > 0) this.#again.soon();
  }

  #parcel(webSocket: WebSocket): Parcel | null {
    const socket = socketOf(webSocket);
    const begun = this.#begun.get(webSocket);
    const ahead = partialFrame(webSocket);
    if (socket === null || begun === undefined || ahead === null || isLeaving(socket)) return null;
    const own = this.#saying.of(webSocket);
    if (own === null) return null;
    const state = pack(begun, own);
    if (state.length + socket.readableLength + ahead.length > LONGEST_ITEM) return null;
    const quiet = new Quiet(socket, [ahead]);
    return {
      kind: this.kind ?? "",
      fd: quiet.fd,
      state,
      unread: quiet.unread,
      taken: () => {
        markMoved(webSocket, SERVICE_RESTART, "moved");
        return quiet.taken();
      },
      back: () => {
        // The partial frame is still where it was, in the receiver.
        quiet.back(ahead.length);
        if (!socket.destroyed) this.#candidates.add(webSocket);
      },
    };
  }
}

/** The request's line and headers as JSON, its length before it, then the application's own bytes. */
function pack(begun: Begun, own: Uint8Array): Uint8Array {
  const json = Buffer.from(JSON.stringify(begun));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([length, json, own]);
}

function unpack(state: Uint8Array): { readonly begun: Begun; readonly own: Uint8Array } {
  const bytes = Buffer.from(state.buffer, state.byteOffset, state.byteLength);
  const end = 4 + bytes.readUInt32LE(0);
  // Written by `pack` of another generation of the same program.
  return { begun: JSON.parse(bytes.toString("utf8", 4, end)) as Begun, own: bytes.subarray(end) };
}
