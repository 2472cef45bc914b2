/** How much someone may ask of this process: `burst` at once, and `perSecond` from then on. Pure; what a unit costs is the caller's to say. */
export class Allowance {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #at: number;

  /** `now`: milliseconds of a clock that is never set back (performance.now()). */
  constructor(burst: number, perSecond: number, now: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
    this.#at = now;
  }

  /** Takes so many units. false, and nothing is taken, when that is more than there is. */
  take(units: number, now: number): boolean {
    this.#refill(now);
    if (units > this.#left) return false;
    this.#left -= units;
    return true;
  }

  /** Takes so many units; what there is not is owed. Returns in how many milliseconds nothing is owed any more: 0 is now. */
  charge(units: number, now: number): number {
    this.#refill(now);
    this.#left -= units;
    return Math.max(0, (-this.#left / this.#perSecond) * 1000);
  }

  #refill(now: number): void {
    this.#left = Math.min(this.#burst, this.#left + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
  }
}
