/**
 * A SEQPACKET socket on which either side speaks unasked: the channel to the daemon (HANDOFF_FD) and the ends of the pairs on which
 * connections move. What has been queued is heard, also when the other side has ended since: a kernel queue outlives its sender.
 */
import { hasCode } from "../coded-error.ts";
import type { Descriptor } from "../descriptor.ts";
import { type Frame, parseFrame } from "../frame.ts";
import { native, type NativePoll, SCM_MAX_FD } from "../native.ts";

/** What came with a frame. The descriptors are the hearer's. */
export interface Heard {
  readonly frame: Frame;
  readonly descriptors: readonly number[];
  /** MSG_CTRUNC: this process is at its limit of open files, and some of the descriptors are nowhere. */
  readonly lost: boolean;
}

const LONGEST_FRAME = 256 * 1024;
/** So many at a time, where nobody says less: the rest of the process wants to be served in between. */
const FRAMES_A_TURN = 16;
const buffer = new Uint8Array(LONGEST_FRAME);

export class FrameSocket {
  readonly #descriptor: Descriptor;
  readonly #poll: NativePoll;
  readonly #hear: (heard: Heard) => string | null;
  readonly #onEnd: (why: string | null) => void;

  /**
   * Takes ownership of `descriptor`. `hear` says what is wrong with a frame, or null: a wrong one ends the conversation. `onEnd` is
   * called once, with the violation or with null when the other side has gone; not after `close`. `framesATurn` are heard in one turn of
   * the loop.
   */
  constructor(
    descriptor: Descriptor,
    hear: (heard: Heard) => string | null,
    onEnd: (why: string | null) => void,
    framesATurn = FRAMES_A_TURN,
  ) {
    this.#descriptor = descriptor;
    this.#hear = hear;
    this.#onEnd = onEnd;
    this.#poll = new native.Poll(descriptor.fd, () => this.#read(framesATurn));
    this.#poll.start();
  }

  get open(): boolean {
    return this.#descriptor.open;
  }

  /** Whether it keeps the process alive: it does until it is told not to. */
  unref(): void {
    this.#poll.unref();
  }

  /** The descriptors stay the caller's. "gone": nobody reads it any more; what was queued for us can still be heard. */
  send(frame: Uint8Array, descriptors: readonly number[] = []): "sent" | "full" | "gone" {
    if (!this.open) return "gone";
    try {
      return native.sendMessage(this.#descriptor.fd, frame, descriptors) ? "sent" : "full";
    } catch (error) {
      if (hasCode(error, "EPIPE", "ECONNRESET")) return "gone";
      // Descriptors in flight count against RLIMIT_NOFILE of their user until they are received (unix(7)).
      if (hasCode(error, "ETOOMANYREFS", "ENOBUFS", "ENOMEM")) return "full";
      throw error;
    }
  }

  /** Hears all that is there, now. */
  hearAll(): void {
    this.#read(Infinity);
  }

  close(): void {
    if (!this.open) return;
    this.#poll.close();
    this.#descriptor.close();
  }

  #read(most: number): void {
    for (let count = 0; count < most && this.open; count += 1) {
      let received;
      try {
        received = native.receiveMessage(this.#descriptor.fd, buffer, SCM_MAX_FD);
      } catch (error) {
        // The other side went with something unread. What it had said before is in our queue, behind this error (unix_release_sock).
        if (hasCode(error, "ECONNRESET")) continue;
        throw error;
      }
      if (received === null) return;
      const { descriptors, length } = received;
      if (length === 0 && descriptors.length === 0) {
        this.#end(null);
        return;
      }
      const frame = received.dataTruncated ? "a frame is too long" : parseFrame(buffer.subarray(0, length));
      if (typeof frame === "string") {
        for (const fd of descriptors) native.close(fd);
        this.#end(frame);
        return;
      }
      const wrong = this.#hear({ frame, descriptors, lost: received.descriptorsTruncated });
      if (wrong !== null) {
        this.#end(wrong);
        return;
      }
    }
  }

  #end(why: string | null): void {
    if (!this.open) return;
    this.close();
    this.#onEnd(why);
  }
}
