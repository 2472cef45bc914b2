/**
 * How many users can have met a candidate: its weight over time, summed up. Like the weight it is recorded before the
 * kernel is told: a daemon that dies in between counts its absence with the weight that it was about to give.
 */

export interface Exposure {
  /** Since when the present weight, or the pins, bring it users; milliseconds since the epoch. null: nobody comes. */
  readonly since: number | null;
  /** Its present share of new connections, 0..1; 0 with a `since`: the pinned networks alone. */
  readonly weight: number;
  /** For how long users came, up to `since`, in milliseconds, pauses in between left out. */
  readonly forMs: number;
  /** The sum, up to `since`, of each weight times the milliseconds that it lasted. */
  readonly weightMs: number;
  readonly peak: number;
}

/** What a candidate had of all new connections, of the time in which users came. */
export interface Touched {
  /** 0..1, the average over `forMs`; the pinned networks' are not in it. */
  readonly share: number;
  readonly peak: number;
  readonly forMs: number;
}

/** From `now` on it has this share of new connections, and the pinned networks or not. null: nobody ever came. */
export function expose(
  before: Exposure | null | undefined,
  weight: number,
  pinned: boolean,
  now: number,
): Exposure | null {
  const isMet = weight > 0 || pinned;
  if (before === null || before === undefined)
    return isMet ? { since: now, weight, forMs: 0, weightMs: 0, peak: weight } : null;
  const sums = settle(before, now);
  return { ...sums, since: isMet ? now : null, weight, peak: Math.max(before.peak, weight) };
}

/** From `now` on nobody meets it as a candidate any more: it is left, or it is the service's current generation. */
export function conceal(before: Exposure | null | undefined, now: number): Exposure | null {
  return expose(before, 0, false, now);
}

/** null: nobody ever came, or (undefined) the record is of a version that did not write it down. */
export function touched(exposure: Exposure | null | undefined, now: number): Touched | null {
  if (exposure === null || exposure === undefined) return null;
  const { forMs, weightMs, peak } = settle(exposure, now);
  // Of no time there is no average: what it had in it is all there is to say.
  return { share: forMs > 0 ? withoutNoise(weightMs / forMs) : peak, peak, forMs };
}

/** A weight that never changed is its own average: 0.2 * 4003 / 4003 is 0.20000000000000004 in binary fractions. */
function withoutNoise(share: number): number {
  return Number(share.toFixed(9));
}

function settle({ since, weight, forMs, weightMs, peak }: Exposure, now: number): Omit<Exposure, "since"> {
  // The wall clock may have been set back.
  const lasted = since === null ? 0 : Math.max(0, now - since);
  return { weight, forMs: forMs + lasted, weightMs: weightMs + weight * lasted, peak };
}
