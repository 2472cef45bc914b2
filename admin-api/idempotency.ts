/**
 * Lets a caller repeat a request whose answer it has not seen: the same Idempotency-Key with the same request
 * within 24 hours gets the first answer again, and nothing is done twice. Only what was accepted is remembered:
 * after a refusal nothing has changed, so trying again is the right thing to do.
 *
 * It is in memory: it outlives an upgrade of the daemon, but a daemon that was restarted does not know the key.
 */

import { late } from "../handoff/late.ts";
import { idempotencyKeyReused } from "./errors.ts";
import type { Awaitable } from "./operations.ts";

/** The keys whose answers are known, for a daemon that goes on with them: name, digest, instant, answer. */
export type IdempotencyState = readonly (readonly [
  name: string,
  digest: string,
  at: number,
  answer: unknown,
])[];

export interface IdempotencyOptions {
  readonly after?: IdempotencyState | undefined;
  readonly capacity?: number;
  readonly keepMs?: number;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

interface Remembered {
  readonly digest: string;
  readonly at: number;
  /** Settles when the first request does; a repetition that comes earlier waits for it. */
  readonly answer: Promise<unknown>;
  /** The same, once it is known. */
  known: { readonly answer: unknown } | null;
}

export class Idempotency {
  readonly #capacity: number;
  readonly #keepMs: number;
  readonly #now: () => number;
  // In the order of arrival, so the first is the oldest.
  readonly #remembered = new Map<string, Remembered>();

  constructor({
    after = [],
    capacity = 1000,
    keepMs = 24 * 3600 * 1000,
    now = Date.now,
  }: IdempotencyOptions = {}) {
    this.#capacity = capacity;
    this.#keepMs = keepMs;
    this.#now = now;
    for (const [name, digest, at, answer] of after) {
      this.#remembered.set(name, { digest, at, answer: Promise.resolve(answer), known: { answer } });
    }
  }

  get state(): IdempotencyState {
    return [...this.#remembered].flatMap(([name, { digest, at, known }]) =>
      known === null ? [] : [[name, digest, at, known.answer] as const],
    );
  }

  /**
   * Runs `act`, or returns what it returned for the same `key` and `request` before. `owner` keeps the keys of
   * different callers apart. Throws IDEMPOTENCY_KEY_REUSED for the same key with another request.
   */
  async once<T>(key: string, owner: string, request: unknown, act: () => Awaitable<T>): Promise<T> {
    this.#forgetOld();
    const name = `${owner} ${key}`;
    const digest = late.crypto.createHash("sha256").update(JSON.stringify(request)).digest("base64");
    const known = this.#remembered.get(name);
    if (known !== undefined) {
      if (known.digest !== digest) throw idempotencyKeyReused(key);
      return (await known.answer) as T;
    }
    const answer = (async () => act())();
    const remembered: Remembered = { digest, at: this.#now(), answer, known: null };
    this.#remembered.set(name, remembered);
    try {
      const result = await answer;
      remembered.known = { answer: result };
      return result;
    } catch (error) {
      this.#remembered.delete(name);
      throw error;
    }
  }

  #forgetOld(): void {
    const oldest = this.#now() - this.#keepMs;
    for (const [name, { at }] of this.#remembered) {
      if (at > oldest && this.#remembered.size < this.#capacity) return;
      this.#remembered.delete(name);
    }
  }
}
