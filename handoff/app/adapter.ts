/** What the drain and the moves know of a server, whatever it speaks: HTTP, web sockets, plain bytes. */
import type { Socket } from "node:net";
import type { Parcel } from "./route.ts";
import type { Arrived } from "./taker.ts";
import { messageOf } from "../coded-error.ts";

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

/** What an application says of a connection (`save`). Where it throws, or says no bytes, the connection stays: said once, in one line. */
export class Saying<S> {
  readonly #save: (socket: S) => Uint8Array | null;
  readonly #complain: (what: string) => void;
  #hasFailed = false;

  constructor(save: (socket: S) => Uint8Array | null, complain: (what: string) => void) {
    this.#save = save;
    this.#complain = complain;
  }

  of(socket: S): Uint8Array | null {
    try {
      const state: unknown = this.#save(socket);
      if (state === null || state instanceof Uint8Array) return state;
      this.#failed("it returned neither bytes nor null");
    } catch (error) {
      this.#failed(messageOf(error));
    }
    return null;
  }

  #failed(why: string): void {
    if (!this.#hasFailed) this.#complain(`connections stay here, since save() failed: ${why}`);
    this.#hasFailed = true;
  }
}

/** Looks again after `ms`, once for however often that is asked: for what changes without an event. It keeps no process alive. */
export class LookAgain {
  readonly #ms: number;
  readonly #look: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(ms: number, look: () => void) {
    this.#ms = ms;
    this.#look = look;
  }

  soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, this.#ms).unref();
  }
}
