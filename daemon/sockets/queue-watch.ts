/**
 * Since when an accept queue is not empty. The kernel tells when something arrives in it, and not when it is empty again, so it
 * is looked at: only while a deploy wants to know, and so often that a busy queue is found empty now and then.
 */
const LOOKS = 100;
const SHORTEST_MS = 10;
const LONGEST_MS = 1_000;

export class QueueWatch {
  readonly #queues: { readonly queued: number };
  readonly #onChange: () => void;
  #timer: NodeJS.Timeout | null = null;
  #since: number | null = null;

  constructor(queues: { readonly queued: number }, onChange: () => void) {
    this.#queues = queues;
    this.#onChange = onChange;
  }

  /** Milliseconds since the epoch; null: it is empty, or nobody looks. */
  get since(): number | null {
    return this.#since;
  }

  /** `limitMs`: for how long it may stay non-empty. Doing so twice is once. */
  start(limitMs: number): void {
    if (this.#timer !== null) return;
    const every = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, limitMs / LOOKS));
    this.#timer = setInterval(() => this.#look(), every);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#since = null;
  }

  #look(): void {
    const isEmpty = this.#queues.queued === 0;
    if (isEmpty === (this.#since === null)) return;
    this.#since = isEmpty ? null : Date.now();
    this.#onChange();
  }
}
