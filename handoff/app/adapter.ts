/** What the drain and the moves know of a server, whatever it speaks: HTTP, web sockets, plain bytes. */
import type { Socket } from "node:net";
import type { Parcel } from "./route.ts";
import type { Arrived } from "./taker.ts";

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
  /**
   * The socket of a connection that another generation has accepted; not read yet, or read in a later turn of the loop. The descriptor
   * is the socket's; when this throws it is still the caller's.
   */
  adopt(fd: number): Socket;
  /** Goes on with it. When this throws the caller destroys the socket. */
  serve(socket: Socket, arrived: Arrived): void;
}

/** A HELLO says no longer one (docs/wire.md). */
const LONGEST_KIND = 64;

/** null for a listener whose name is too long for it: its connections drain. */
export function kindOf(protocol: string, listener: string): string | null {
  const kind = `${protocol}/${listener}`;
  return Buffer.byteLength(kind) <= LONGEST_KIND ? kind : null;
}
