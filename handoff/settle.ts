/**
 * Whether a slot has nothing left that its generation must answer: an empty accept queue and no handshake under way.
 * TCP_INFO counts the queue but not the handshakes; those come from inet_diag (SYN_RECV).
 */
import type { Listener } from "./listener.ts";
import type { Slot } from "./slot.ts";

/** What a slot still holds. */
export interface Leftover {
  readonly queued: number;
  readonly halfOpen: number;
}

/**
 * A look at one slot that has weight 0. Where connections bear no mark, a handshake cannot be told to belong to this
 * slot: those that were under way at the first look are waited for, later ones went elsewhere.
 */
export class Settling {
  readonly #listener: Listener;
  readonly #slot: Slot;
  #first: ReadonlySet<string> | null = null;

  constructor(listener: Listener, slot: Slot) {
    this.#listener = listener;
    this.#slot = slot;
  }

  look(): Leftover {
    const now = this.#listener.halfOpen(this.#slot);
    this.#first ??= now;
    const first = this.#first;
    const halfOpen = [...now].filter((peer) => first.has(peer)).length;
    if (halfOpen === 0) this.#slot.isSettled = true;
    return { queued: this.#slot.queue.length, halfOpen };
  }
}
