/**
 * The old side of a pair: connections leave by it. A connection that was sent is nobody's until the answer is here: not read, not
 * written, not closed.
 *
 *   quiet ──sent──▶ TAKEN: the taker serves it          `taken`: our duplicate is closed, no FIN (the description lives on)
 *                   refused, or the route ends first    `back`: the taker has not read a byte, and never will
 *
 * There is no time-out: a taker that hangs may still take it.
 */
import { messageOf } from "../coded-error.ts";
import { Descriptor } from "../descriptor.ts";
import { FrameSocket, type Heard } from "./frames.ts";
import {
  BYTES_PER_FRAME,
  cut,
  ITEMS_PER_FRAME,
  lateFrame,
  moveFrame,
  type Part,
  readPairFrame,
} from "./wire.ts";
import { native } from "../native.ts";

/** A connection that goes, made quiet. Exactly one of `taken` and `back` is called, once. */
export interface Parcel extends Part {
  readonly kind: string;
  /** Stays the parcel's. */
  readonly fd: number;
  /** It is another process's now. Returns what the application has written to it meanwhile, for the taker to write. */
  taken(): Uint8Array | null;
  /** It is ours as before. */
  back(): void;
}

/**
 * On one route: nobody answers what waits in a taker's queue, so that it holds what is taken within milliseconds, and enough that the
 * taker finds something in each turn of its loop.
 */
const UNANSWERED_ITEMS = ITEMS_PER_FRAME;
const UNANSWERED_BYTES = 128 * 1024;
/** When the kernel has no room although nothing of ours is on the way: that of other processes of this user is. */
const RETRY_MS = 5;

interface Outgoing {
  readonly bytes: Uint8Array;
  /** The parcels' own: good for this turn of the loop, in which nothing can close them. */
  readonly descriptors: readonly number[];
  /** Duplicates, where it had to wait: by then such a number may be another file's. */
  owned: readonly Descriptor[];
}

export class Route {
  /** What the taker can take. One that it has refused is no longer among them. */
  readonly kinds: Set<string>;
  readonly #socket: FrameSocket;
  readonly #onAnswer: (route: Route) => void;
  readonly #onEnd: (route: Route, why: string | null) => void;
  readonly #parcels = new Map<number, readonly Parcel[]>();
  readonly #queue: Outgoing[] = [];
  /** The lengths of the frames that were sent and not answered. */
  readonly #unanswered: number[] = [];
  #unansweredBytes = 0;
  #items = 0;
  #sequence = 0;
  #over = false;
  #retry: NodeJS.Timeout | undefined;

  /** Takes ownership of `descriptor`. `onAnswer`: there may be room again. */
  constructor(
    descriptor: Descriptor,
    kinds: Iterable<string>,
    onAnswer: (route: Route) => void,
    onEnd: (route: Route, why: string | null) => void,
  ) {
    this.kinds = new Set(kinds);
    this.#onAnswer = onAnswer;
    this.#onEnd = onEnd;
    this.#socket = new FrameSocket(
      descriptor,
      (heard) => this.#hear(heard),
      (why) => this.#ended(why),
    );
  }

  get open(): boolean {
    return this.#socket.open;
  }

  /** Whether nothing is under way: no connection that is nobody's at the moment, and nothing more to say about others. */
  get settled(): boolean {
    return this.#items === 0 && this.#queue.length === 0;
  }

  /** How many connections are on the way: sent, or about to be, and not answered. */
  get leaving(): number {
    return this.#items;
  }

  /** How many connections it would send on now; more than that wait for an answer. */
  get room(): number {
    return this.open && this.#queue.length === 0 ? Math.max(0, UNANSWERED_ITEMS - this.#items) : 0;
  }

  /** Sends at most ITEMS_PER_FRAME of them. Each is answered for, also when the route has ended already. */
  send(parcels: readonly Parcel[]): void {
    if (!this.open) {
      for (const parcel of parcels) parcel.back();
      return;
    }
    const size = parcels.reduce((sum, { state, unread }) => sum + state.length + unread.length, 0);
    if (size > BYTES_PER_FRAME && parcels.length > 1) {
      for (const parcel of parcels) this.send([parcel]);
      return;
    }
    const sequence = this.#sequence++;
    this.#parcels.set(sequence, parcels);
    this.#items += parcels.length;
    const descriptors = parcels.map(({ fd }) => fd);
    const [only] = parcels;
    const pieces = size > BYTES_PER_FRAME && only !== undefined ? cut(only).map((part) => [part]) : [parcels];
    pieces.forEach((parts, index) => {
      const last = index === pieces.length - 1;
      // The descriptors come last: an unfinished sequence holds none, and dies with its sender.
      const bytes = moveFrame(sequence, parts, !last);
      this.#queue.push({ bytes, descriptors: last ? descriptors : [], owned: [] });
    });
    this.#flush();
  }

  /** The taker finds the end of it. To be called when all is settled. */
  close(): void {
    clearTimeout(this.#retry);
    for (const { owned } of this.#queue.splice(0)) for (const each of owned) each.close();
    this.#socket.close();
  }

  #flush(): void {
    clearTimeout(this.#retry);
    try {
      this.#sendQueued();
      for (const outgoing of this.#queue) own(outgoing);
    } catch (error) {
      // What the taker has not got is served here.
      this.#ended(messageOf(error));
    }
  }

  #sendQueued(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const length = next.bytes.length;
      if (this.#unanswered.length > 0 && this.#unansweredBytes + length > UNANSWERED_BYTES) return;
      const descriptors = next.owned.length > 0 ? next.owned.map(({ fd }) => fd) : next.descriptors;
      switch (this.#socket.send(next.bytes, descriptors)) {
        case "sent":
          this.#queue.shift();
          for (const each of next.owned) each.close();
          this.#unanswered.push(length);
          this.#unansweredBytes += length;
          break;
        case "full":
          if (this.#unanswered.length === 0) this.#retry = setTimeout(() => this.#flush(), RETRY_MS);
          return;
        case "gone":
          // What it had answered before is heard first: that it took.
          this.#socket.hearAll();
          this.#ended(null);
          return;
      }
    }
  }

  #hear({ frame, descriptors }: Heard): string | null {
    for (const fd of descriptors) native.close(fd);
    const message = readPairFrame(frame);
    if (typeof message === "string") return message;
    if (message.type !== "taken" || descriptors.length > 0) return `a taker does not say "${message.type}"`;
    const length = this.#unanswered.shift();
    if (length === undefined) return "a TAKEN that nobody has asked for";
    this.#unansweredBytes -= length;
    if (!message.more && !this.#settle(message.sequence, new Set(message.refused))) {
      return "a TAKEN of what was not sent";
    }
    this.#flush();
    if (this.open) this.#onAnswer(this);
    return null;
  }

  #settle(sequence: number, refused: ReadonlySet<number>): boolean {
    const parcels = this.#parcels.get(sequence);
    if (parcels === undefined) return false;
    this.#parcels.delete(sequence);
    this.#items -= parcels.length;
    parcels.forEach((parcel, index) => {
      if (refused.has(index)) {
        this.kinds.delete(parcel.kind);
        parcel.back();
        return;
      }
      const late = parcel.taken();
      for (let at = 0; late !== null && at < late.length; at += BYTES_PER_FRAME) {
        const end = at + BYTES_PER_FRAME;
        const bytes = lateFrame(sequence, index, late.subarray(at, end), end < late.length);
        this.#queue.push({ bytes, descriptors: [], owned: [] });
      }
    });
    return true;
  }

  #ended(why: string | null): void {
    // Found by sending, and by hearing what was said before: once.
    if (this.#over) return;
    this.#over = true;
    this.close();
    const left = [...this.#parcels.values()].flat();
    this.#parcels.clear();
    this.#items = 0;
    for (const parcel of left) parcel.back();
    this.#onEnd(this, why);
  }
}

function own(outgoing: Outgoing): void {
  if (outgoing.owned.length === outgoing.descriptors.length) return;
  const owned: Descriptor[] = [];
  outgoing.owned = owned;
  for (const fd of outgoing.descriptors) owned.push(new Descriptor(native.duplicate(fd)));
}
