/**
 * The end of a program, politely: told to end it stops accepting, lets what is open move or finish, and then is gone.
 *
 *   serving ──signal──▶ draining ──nothing is open, every callback has returned──▶ ended
 *                          └──────────── its time is over ───────────────────────▶ ended (what is left is cut; by the supervisor, if
 *                                                                                         there is one)
 */
import type { Adapter, Draining } from "./adapter.ts";
import type { Moves } from "./moves.ts";
import { messageOf } from "../coded-error.ts";

/** How long a callback has. */
export interface Deadline {
  /** Aborted when the time is over. */
  readonly signal: AbortSignal;
  /** Milliseconds; more after `extend`. */
  remainingMs(): number;
}

export type DrainCallback = (deadline: Deadline) => unknown;

export interface Ending {
  /** Called once, when nothing is left; `left` connections were not done when the time was over. */
  (left: number): void;
}

/** setTimeout's 31 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Drain implements Draining {
  readonly #adapters: Adapter[];
  readonly #complain: (what: string) => void;
  readonly #callbacks: DrainCallback[] = [];
  readonly #abort = new AbortController();
  #state: "serving" | "draining" | "ended" = "serving";
  #moves: Moves | null = null;
  #onEnd: Ending = () => undefined;
  #until = Infinity;
  #isSupervised = false;
  #timer: NodeJS.Timeout | undefined;
  #running = 0;
  #checking = false;

  /** `complain` says on standard error what nobody else would learn. */
  constructor(adapters: Adapter[], complain: (what: string) => void) {
    this.#adapters = adapters;
    this.#complain = complain;
  }

  get state(): "serving" | "draining" | "ended" {
    return this.#state;
  }

  /** One that comes late is called at once. */
  onDrain(callback: DrainCallback): void {
    if (this.#state === "serving") this.#callbacks.push(callback);
    else this.#run(callback);
  }

  /** One that comes late drains from the start. */
  join(adapters: readonly Adapter[]): void {
    this.#adapters.push(...adapters);
    if (this.#state === "draining") for (const adapter of adapters) adapter.drain(this);
  }

  /**
   * When `timeoutMs` is over, the callbacks are told; `onEnd` is called with what is left unless the process is `supervised`: whoever
   * supervises it ends it then, and counts what that cuts.
   */
  begin(
    moves: Moves,
    { timeoutMs, supervised }: { readonly timeoutMs: number; readonly supervised: boolean },
    onEnd: Ending,
  ): void {
    if (this.#state !== "serving") return;
    this.#isSupervised = supervised;
    this.#state = "draining";
    this.#moves = moves;
    this.#onEnd = onEnd;
    this.#until = performance.now() + timeoutMs;
    this.#arm();
    // Routes were made before the signal was sent: heard first, so that no connection is told to go that could move.
    moves.drain();
    for (const adapter of this.#adapters) adapter.drain(this);
    for (const callback of this.#callbacks.splice(0)) this.#run(callback);
    moves.pump();
    this.changed();
  }

  /** `ms` more from now on, if that is later than it was. */
  extend(ms: number): void {
    if (this.#state !== "draining") return;
    this.#until = Math.max(this.#until, performance.now() + ms);
    this.#arm();
  }

  remainingMs(): number {
    return this.#state === "serving" ? Infinity : Math.max(0, this.#until - performance.now());
  }

  movable(kind: string | null): boolean {
    return this.#moves?.movable(kind) ?? false;
  }

  wake(): void {
    this.#moves?.wake();
  }

  changed(): void {
    if (this.#checking || this.#state !== "draining") return;
    // Once in a turn of the loop, when a thousand connections end in it.
    this.#checking = true;
    setImmediate(() => {
      this.#checking = false;
      if (this.#left() === 0 && this.#running === 0 && this.#moves?.settled !== false) this.#end(0);
    });
  }

  #left(): number {
    return this.#adapters.reduce((sum, { left }) => sum + left, 0);
  }

  #run(callback: DrainCallback): void {
    this.#running += 1;
    // What it waits for may keep no process alive by itself (an AbortSignal, a promise of somebody else's).
    const awake = setInterval(() => undefined, LONGEST_TIMER_MS);
    const deadline: Deadline = { signal: this.#abort.signal, remainingMs: () => this.remainingMs() };
    // A callback that fails must not end the process under the connections of others.
    new Promise((resolve) => resolve(callback(deadline)))
      .catch((error: unknown) => this.#complain(`a callback of onDrain failed: ${messageOf(error)}`))
      .finally(() => {
        clearInterval(awake);
        this.#running -= 1;
        this.changed();
      });
  }

  #arm(): void {
    clearTimeout(this.#timer);
    // Who has more than 24 days is not waited for here.
    if (this.remainingMs() > LONGEST_TIMER_MS) return;
    this.#timer = setTimeout(() => {
      if (this.remainingMs() > 0) this.#arm();
      else if (this.#isSupervised) this.#abort.abort();
      else this.#end(this.#left());
    }, this.remainingMs());
  }

  #end(left: number): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#onEnd(left);
  }
}
