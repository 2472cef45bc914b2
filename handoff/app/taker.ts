/**
 * The new side of a pair: connections come in by it. The answer is sent before the first byte of a connection is read, so that a TAKEN
 * in the old side's queue means that it may have been read, and no TAKEN that it was not.
 *
 * When the answer cannot be sent since the old side has died, the connection is ours: nobody else has it. When it cannot be sent
 * for any other reason it is not, and the old side, which sees the route end, goes on with it.
 */
import { FrameSocket, type Heard } from "./frames.ts";
import { LONGEST_ITEM, type PairMessage, type Part, readPairFrame, takenFrame } from "./wire.ts";
import type { Descriptor } from "../descriptor.ts";
import { native } from "../native.ts";

/** A connection that has come, with what came along. */
export interface Arrived {
  readonly kind: string;
  readonly fd: number;
  readonly state: Uint8Array;
  readonly unread: Uint8Array;
}

export interface Takes {
  /** Whether this process serves such connections and does not drain. Asked before the answer. */
  accepts(kind: string): boolean;
  /**
   * They are this process's from here on, and so are their descriptors. Each comes with the function that writes what the old
   * side has still to say; null: it could not be served and is closed.
   */
  take(arrived: readonly Arrived[]): readonly (((late: Uint8Array) => void) | null)[];
}

type Move = Extract<PairMessage, { type: "move" }>;

/** Its connections are served before the next one's are taken: those who are here already ask, too. */
const FRAMES_A_TURN = 1;
/** So many sequences are remembered for what comes late: the old side sends it right behind the answer. */
const REMEMBERED = 512;

export class Taker {
  readonly #socket: FrameSocket;
  readonly #takes: Takes;
  /** The parts of a sequence that goes on. */
  #begun: { readonly sequence: number; readonly parts: readonly Part[] } | null = null;
  /** What was written late to the connections of a sequence, until it is whole: the new side's own words must not come in between. */
  #late: Uint8Array[] = [];
  readonly #writers = new Map<number, readonly (((late: Uint8Array) => void) | null)[]>();

  /** Takes ownership of `descriptor`. */
  constructor(descriptor: Descriptor, takes: Takes, onEnd: (taker: Taker, why: string | null) => void) {
    this.#takes = takes;
    this.#socket = new FrameSocket(
      descriptor,
      (heard) => this.#hear(heard),
      (why) => onEnd(this, why),
      FRAMES_A_TURN,
    );
    // An old side that does nothing more keeps nobody from ending.
    this.#socket.unref();
  }

  /** Takes all that is there, now. */
  hearAll(): void {
    this.#socket.hearAll();
  }

  close(): void {
    this.#socket.close();
  }

  #hear({ frame, descriptors, lost }: Heard): string | null {
    const message = readPairFrame(frame);
    const wrong = typeof message === "string" ? message : this.#wrong(message, descriptors.length, lost);
    if (typeof message === "string" || wrong !== null || message.type === "taken") {
      for (const fd of descriptors) native.close(fd);
      return wrong ?? "an old instance does not answer";
    }
    if (message.type === "late") {
      this.#late.push(message.bytes);
      if (!message.more) {
        this.#writers.get(message.sequence)?.[message.item]?.(concatenated(this.#late));
        this.#late = [];
      }
      return this.#answer(message.sequence, [], true) === "full" ? "it does not read its answers" : null;
    }
    return this.#moved(message, descriptors, lost);
  }

  /** What is wrong with a message apart from its form. */
  #wrong(message: PairMessage, descriptors: number, lost: boolean): string | null {
    if (message.type !== "move" || message.more) {
      return descriptors > 0 || lost ? `descriptors with a frame that has none` : null;
    }
    const kinds = message.parts.filter(({ kind }) => kind !== null).length + (this.#begun === null ? 0 : 1);
    return lost || kinds === descriptors
      ? null
      : `a MOVE of ${kinds} connections with ${descriptors} descriptors`;
  }

  #moved({ sequence, more, parts }: Move, descriptors: readonly number[], lost: boolean): string | null {
    const refuse = (wrong: string): string => {
      for (const fd of descriptors) native.close(fd);
      return wrong;
    };
    const begun = this.#begun;
    if (begun !== null ? begun.sequence !== sequence : parts[0]?.kind === null) {
      return refuse("a MOVE that goes on with nothing");
    }
    if (begun !== null ? parts.length !== 1 || parts[0]?.kind !== null : more && parts.length !== 1) {
      return refuse("a MOVE in parts of more than one connection");
    }
    const all = [...(begun?.parts ?? []), ...parts];
    if (more) {
      const size = all.reduce((sum, { state, unread }) => sum + state.length + unread.length, 0);
      if (size > LONGEST_ITEM) return refuse(`a connection with more than ${LONGEST_ITEM} bytes`);
      this.#begun = { sequence, parts: all };
      return this.#answer(sequence, [], true) === "full" ? "it does not read its answers" : null;
    }
    this.#begun = null;
    return this.#settle(sequence, begun === null ? parts : [joined(all)], descriptors, lost);
  }

  #settle(
    sequence: number,
    items: readonly Part[],
    descriptors: readonly number[],
    lost: boolean,
  ): string | null {
    const refused = items.flatMap(({ kind }, index) =>
      lost || kind === null || !this.#takes.accepts(kind) ? [index] : [],
    );
    if (this.#answer(sequence, refused, false) === "full") {
      for (const fd of descriptors) native.close(fd);
      return "it does not read its answers";
    }
    const not = new Set(refused);
    // Of a message that lost some it is not known which is which: all are refused.
    descriptors.forEach((fd, index) => {
      if (lost || not.has(index)) native.close(fd);
    });
    const taken = items.flatMap(({ kind, state, unread }, index) => {
      const fd = descriptors[index];
      return not.has(index) || kind === null || fd === undefined ? [] : [{ index, kind, fd, state, unread }];
    });
    const writers = this.#takes.take(taken);
    const byIndex = items.map((): ((late: Uint8Array) => void) | null => null);
    taken.forEach(({ index }, at) => (byIndex[index] = writers[at] ?? null));
    this.#writers.set(sequence, byIndex);
    const [oldest] = this.#writers.keys();
    if (oldest !== undefined && this.#writers.size > REMEMBERED) this.#writers.delete(oldest);
    return null;
  }

  #answer(sequence: number, refused: readonly number[], more: boolean): "sent" | "full" | "gone" {
    return this.#socket.send(takenFrame(sequence, refused, more));
  }
}

function joined(parts: readonly Part[]): Part {
  return {
    kind: parts[0]?.kind ?? null,
    state: concatenated(parts.map(({ state }) => state)),
    unread: concatenated(parts.map(({ unread }) => unread)),
  };
}

function concatenated(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
