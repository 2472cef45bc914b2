/** How often someone may ask: a bucket of `burst` requests each, refilled at `perSecond`. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  level: number;
  /** Milliseconds since the epoch. */
  at: number;
}

/** So many are remembered; beyond, the one that has asked least recently begins anew. */
const CALLERS = 4096;

export class RateLimit {
  readonly #rate: Rate;
  readonly #now: () => number;
  // In the order of their last request.
  readonly #buckets = new Map<string, Bucket>();

  /** `now`: milliseconds since the epoch. */
  constructor(rate: Rate, now: () => number = Date.now) {
    this.#rate = rate;
    this.#now = now;
  }

  /** Takes one request of `who`. 0: it may go on; else the whole seconds after which the next one may. */
  take(who: string): number {
    const { perSecond, burst } = this.#rate;
    const now = this.#now();
    const bucket = this.#buckets.get(who) ?? { level: burst, at: now };
    // The clock may have been set back.
    const elapsedMs = Math.max(0, now - bucket.at);
    bucket.level = Math.min(burst, bucket.level + (elapsedMs / 1000) * perSecond);
    bucket.at = now;
    this.#buckets.delete(who);
    this.#buckets.set(who, bucket);
    if (this.#buckets.size > CALLERS) {
      for (const oldest of this.#buckets.keys()) {
        this.#buckets.delete(oldest);
        break;
      }
    }
    if (bucket.level < 1) return Math.max(1, Math.ceil((1 - bucket.level) / perSecond));
    bucket.level -= 1;
    return 0;
  }
}
