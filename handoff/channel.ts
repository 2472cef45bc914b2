/**
 * One peer on a SOCK_SEQPACKET socket. Messages are asked for one at a time (`receive`) and come in order, or come unasked
 * (`listen`). Nothing is sent that nobody waits for, so that a full queue is not waited for but is the peer's violation.
 *
 * The channel owns its descriptor. Descriptors that come with a message belong to whoever received the message;
 * those of a broken message are closed here.
 */
import { CodedError, hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { closeForeign } from "./foreign.ts";
import { descriptorsLost, peerGone, timedOut, violation } from "./errors.ts";
import { type Message, parseMessage } from "./messages.ts";
import { native, type NativePoll, SCM_MAX_FD } from "./native.ts";

export interface Received {
  readonly message: Message;
  readonly descriptors: readonly Descriptor[];
}

interface Waiter {
  readonly resolve: (received: Received) => void;
  readonly reject: (error: Error) => void;
}

/** A frame of ours never comes near this; a longer message is a violation. */
const LONGEST_MESSAGE = 256 * 1024;
const buffer = new Uint8Array(LONGEST_MESSAGE);
/** A queue has fewer: each message takes some 800 bytes of net.core.wmem_default, which is 208 KiB. */
const MOST_WAITING = 1_000;

export class Channel implements Disposable {
  readonly #descriptor: Descriptor;
  readonly #poll: NativePoll;
  #waiter: Waiter | null = null;
  #closed: CodedError | null = null;
  #onClosed: ((why: CodedError) => void) | null = null;
  #hear: ((received: Received) => void) | null = null;
  #longest = LONGEST_MESSAGE;

  /** Takes ownership of `descriptor`, a connected, non-blocking SEQPACKET socket. */
  constructor(descriptor: Descriptor) {
    this.#descriptor = descriptor;
    this.#poll = new native.Poll(descriptor.fd, () => this.#readable());
  }

  get open(): boolean {
    return this.#closed === null;
  }

  /** For the keeper and for the daemon's next image; stays the channel's. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  /** Calls back when the peer has gone, also while nothing is being received. */
  watch(onClosed: () => void): void {
    this.#onClosed = onClosed;
    this.#poll.start();
    this.#poll.unref();
  }

  /** Nobody is told any more. */
  unwatch(): void {
    this.#onClosed = null;
    if (this.open && this.#waiter === null) this.#poll.stop();
  }

  /**
   * From here on the peer may speak unasked: each message is handed to `hear`, one in a turn of the loop, however many wait. One of
   * more than `longest` bytes is a violation. `onClosed` is told why it is over, unless by our own `close`. Keeps no process alive.
   */
  listen(hear: (received: Received) => void, longest: number, onClosed: (why: CodedError) => void): void {
    this.#hear = hear;
    this.#longest = Math.min(longest, LONGEST_MESSAGE);
    this.#onClosed = onClosed;
    if (this.open) this.#rest();
  }

  /** What the peer says waits, and that it has gone is not told, until `listen` is called again. */
  pause(): void {
    this.#hear = null;
    if (this.open && this.#waiter === null) this.#poll.stop();
  }

  /**
   * Hands over what waits already: what was said before something else that is known by now. Only for who listens. What comes meanwhile
   * is not waited for, however much comes.
   */
  catchUp(): void {
    for (let left = MOST_WAITING; left > 0 && this.#hear !== null && this.open && this.#readable(); left--);
  }

  /** Sends one frame with duplicates of `descriptors`, which stay the caller's. Throws a CodedError. */
  send(frame: Uint8Array, descriptors: readonly number[] = []): void {
    if (this.#closed !== null) throw this.#closed;
    try {
      if (!native.sendMessage(this.#descriptor.fd, frame, descriptors)) {
        throw this.violated("it does not read what it was sent");
      }
    } catch (error) {
      if (hasCode(error, "EPIPE", "ECONNRESET")) throw this.#fail(peerGone("a message", error));
      throw error;
    }
  }

  /**
   * The next message. `during` names the wait in the error; the deadline is in milliseconds. When it has passed, the channel is closed:
   * a late answer would be taken for that to the next request.
   */
  async receive(during: string, deadlineMs: number): Promise<Received> {
    if (this.#closed !== null) throw this.#closed;
    if (this.#waiter !== null) throw new Error("two receivers on one channel");
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Received>((resolve, reject) => {
        this.#waiter = { resolve, reject };
        timer = setTimeout(() => reject(this.#fail(timedOut(during, deadlineMs))), deadlineMs);
        this.#poll.ref();
        this.#poll.start();
      });
    } finally {
      clearTimeout(timer);
      this.#waiter = null;
      if (this.open) this.#rest();
    }
  }

  /**
   * A message that is there already, else null: what a process that has ended had still to say. Throws when the
   * peer has closed or broken the protocol.
   */
  takePending(): Received | null {
    return this.#closed === null ? this.#read() : null;
  }

  /** Whether there was a message. */
  #readable(): boolean {
    let received: Received | null;
    try {
      received = this.#read();
    } catch (error) {
      const failure = error instanceof CodedError ? error : peerGone("a message", error);
      const waiter = this.#waiter;
      this.#fail(failure);
      waiter?.reject(failure);
      return false;
    }
    if (received === null) return false;
    if (this.#waiter !== null) {
      this.#waiter.resolve(received);
      this.#waiter = null;
      this.#rest();
    } else if (this.#hear !== null) {
      this.#hear(received);
    } else {
      void closeForeign(received.descriptors);
      this.#fail(violation("it spoke without being asked"));
    }
    return true;
  }

  /** Nobody receives: only who watches or listens still wants to know of the peer, and keeps no process alive for it. */
  #rest(): void {
    if (this.#onClosed === null && this.#hear === null) {
      this.#poll.stop();
      return;
    }
    this.#poll.start();
    this.#poll.unref();
  }

  #read(): Received | null {
    const raw = native.receiveMessage(this.#descriptor.fd, buffer, SCM_MAX_FD);
    if (raw === null) return null;
    const descriptors = raw.descriptors.map((fd) => new Descriptor(fd));
    try {
      if (raw.descriptorsTruncated) throw descriptorsLost();
      if (raw.dataTruncated || raw.length > this.#longest) throw violation("a message is too long");
      if (raw.length === 0) throw peerGone("a message");
      const message = parseMessage(buffer.subarray(0, raw.length));
      if (typeof message === "string") throw violation(message);
      return { message, descriptors };
    } catch (error) {
      void closeForeign(descriptors);
      throw error;
    }
  }

  /** Closes the channel because of what the peer has said. The error is the caller's to throw. */
  violated(what: string, cause?: unknown): CodedError {
    return this.#fail(violation(what, cause));
  }

  #fail(error: CodedError): CodedError {
    if (this.#closed === null) {
      this.#closed = error;
      this.#poll.close();
      // At once; and the keeper may have a duplicate, by which the peer would go on speaking to nobody.
      native.shutdown(this.#descriptor.fd, "both");
      // What waits in it unread may have descriptors of the peer's.
      void closeForeign([this.#descriptor]);
      this.#onClosed?.(error);
    }
    return error;
  }

  close(): void {
    this.#onClosed = null;
    this.#fail(peerGone("a message: this side has closed the channel"));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
