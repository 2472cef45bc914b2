/** The connections of a net.Server in a drain: they move with what the application says of them, or are its own to end. */
import { Server as NetServer, type Socket } from "node:net";
import { type Adapter, type Draining, kindOf, LookAgain, Saying } from "./adapter.ts";
import { adopt, hasEnded } from "./private.ts";
import { isLeaving, Quiet } from "./quiet.ts";
import type { Parcel } from "./route.ts";
import type { Arrived } from "./taker.ts";
import { LONGEST_ITEM } from "./wire.ts";

/** How an application lets its connections move. */
export interface SocketMover {
  /**
   * What the next generation needs in order to go on with this connection, as bytes of the application's own; what was received and not
   * read goes along by itself. null: not now; it is asked again soon. Changes nothing: the connection may stay.
   */
  save(socket: Socket): Uint8Array | null;
  /** Goes on with a connection, as a "connection" listener does with a new one. What was not read comes first. */
  restore(socket: Socket, state: Uint8Array): void;
}

/** What an application says, or its buffers, give no event. */
const ASK_AGAIN_MS = 10;

export class NetAdapter implements Adapter {
  readonly kind: string | null;
  readonly listener: string;
  readonly #server: NetServer;
  readonly #mover: SocketMover | null;
  readonly #saying: Saying<Socket> | null;
  readonly #sockets = new Set<Socket>();
  /** Of a drain: those that were not asked in this round. */
  #candidates = new Set<Socket>();
  #draining: Draining | null = null;
  readonly #again = new LookAgain(ASK_AGAIN_MS, () => {
    this.retry();
    this.#draining?.wake();
  });

  /** `complain` says on standard error what nobody else would learn. */
  constructor(
    server: NetServer,
    listener: string,
    mover: SocketMover | null,
    complain: (what: string) => void,
  ) {
    this.#server = server;
    this.listener = listener;
    this.#mover = mover;
    this.#saying = mover === null ? null : new Saying((socket: Socket) => mover.save(socket), complain);
    this.kind = mover === null ? null : kindOf("net", listener);
    server.on("connection", (socket: Socket) => this.#track(socket));
  }

  get left(): number {
    return this.#sockets.size;
  }

  drain(draining: Draining): void {
    this.#draining = draining;
    NetServer.prototype.close.call(this.#server);
    this.retry();
  }

  next(): Parcel | null {
    for (const socket of this.#candidates) {
      this.#candidates.delete(socket);
      const parcel = this.#parcel(socket);
      if (parcel !== null) return parcel;
    }
    if (this.#sockets.size > 0) this.#again.soon();
    return null;
  }

  retry(): void {
    if (this.#draining !== null) this.#candidates = new Set(this.#sockets);
  }

  adopt(fd: number): Socket {
    return adopt(this.#server, fd, { paused: true });
  }

  serve(socket: Socket, { state, unread }: Arrived): void {
    this.#track(socket);
    if (unread.length > 0) socket.unshift(unread);
    this.#mover?.restore(socket, state);
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#candidates.delete(socket);
      this.#draining?.changed();
    });
  }

  #parcel(socket: Socket): Parcel | null {
    // What waits to be written is on its way to this kernel's buffer; a decoder may have half a character that nobody could give away.
    const isFit =
      !socket.destroyed &&
      !isLeaving(socket) &&
      !socket.connecting &&
      socket.writableLength === 0 &&
      !socket.writableEnded &&
      !hasEnded(socket) &&
      socket.readableEncoding === null;
    const state = isFit ? (this.#saying?.of(socket) ?? null) : null;
    if (state === null || state.length + socket.readableLength > LONGEST_ITEM) return null;
    const quiet = new Quiet(socket);
    return {
      kind: this.kind ?? "",
      fd: quiet.fd,
      state,
      unread: quiet.unread,
      taken: () => quiet.taken(),
      back: () => {
        quiet.back();
        if (!socket.destroyed) this.#candidates.add(socket);
      },
    };
  }
}
