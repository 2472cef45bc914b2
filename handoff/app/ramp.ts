/**
 * How many connections may have left by now. A process that has just started answers its first requests many times as slowly as its
 * thousandth: were all clients with it at once, each would wait behind all others. So the share that has left grows with the square of the
 * time, as the new process gets faster, and the old one answers the rest.
 *
 *   share  1 ┤                 ▁▆████
 *          ½ ┤           ▁▃▆██▀
 *          0 ┼▁▁▁▁▂▂▃▄▅▆
 *            0           ½            RAMP_MS
 */

/** Those who end wait for it: it is short beside what a thousand connections take anyway (some 150 ms). */
export const RAMP_MS = 80;
/** Fewer than fill a frame leave this often, together: each look at what is idle costs as much for one as for a thousand. */
export const STEP_MS = 5;

export class Ramp {
  readonly #total: number;
  readonly #began: number;
  readonly #now: () => number;
  #left = 0;
  #lastMs: number;

  /** Of so many connections. It begins now; `now` is in milliseconds. */
  constructor(total: number, now: () => number = () => performance.now()) {
    this.#total = total;
    this.#now = now;
    this.#began = now();
    this.#lastMs = -Infinity;
  }

  /** Whether all may go. */
  get over(): boolean {
    return this.#now() - this.#began >= RAMP_MS;
  }

  /** How many more may leave now: at least `whole`, or what there is at a step. The first may at once. */
  room(whole: number): number {
    if (this.over) return Infinity;
    const now = this.#now();
    const share = ((now - this.#began) / RAMP_MS) ** 2;
    const room = Math.max(1, Math.floor(this.#total * share)) - this.#left;
    return room >= whole || now - this.#lastMs >= STEP_MS ? Math.max(0, room) : 0;
  }

  leave(count: number): void {
    this.#left += count;
    this.#lastMs = this.#now();
  }
}
