/** What the drain and the moves know of a server, whatever it speaks: HTTP, web sockets, plain bytes. */
import type { Socket } from "node:net";
import type { Parcel } from "./app-route.ts";
import type { Arrived } from "./app-taker.ts";

/** The drain, as an adapter sees it. */
export interface Draining {
  /** How long it may take yet, in milliseconds; it may become more (`extend`). */
  remainingMs(): number;
  /** Whether somebody could take a connection of this kind now. */
  movable(kind: string | null): boolean;
  /** `next` is worth asking again. */
  wake(): void;
  /** `left` may be 0 by now. */
  changed(): void;
}

export interface Adapter {
  /** What a successor must be able to take, such as "http/web"; null: nothing of this ever moves. */
  readonly kind: string | null;
  /** The name of the listener. */
  readonly listener: string;
  /** How many connections are open. */
  readonly left: number;
  /** Stops accepting, and from here on ends connections politely unless they move. */
  drain(draining: Draining): void;
  /** A connection that can go now, made quiet; null: there is none. */
  next(): Parcel | null;
  /** There is a new way: `next` begins anew. */
  retry(): void;
  /** Serves a connection of another generation. Its descriptor belongs to the socket that is returned; when this throws, to the caller. */
  take(arrived: Arrived): Taken;
}

export interface Taken {
  readonly socket: Socket;
  /** Writes to the client what the other generation has still to say. */
  write(late: Uint8Array): void;
}
