// From samples to a row. The sides of a comparison take turns, round by round, so that what else the machine
// does meets them all; a ratio is the median of the rounds' own ratios.

function quantile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export function median(samples) {
  return quantile(samples, 0.5);
}

/** A row of a result. `samples` are numbers in `unit`; `goal` is the most that the median (or the ratio) may be. */
export function row(name, unit, samples, more = {}) {
  return {
    name,
    unit,
    samples: samples.length,
    median: median(samples),
    p95: quantile(samples, 0.95),
    ...more,
  };
}

/**
 * Runs every side once in each round and returns the samples by side and round. `sides` has a function for each name,
 * which returns its samples of one round. Every other round goes backwards.
 */
export async function takeTurns(rounds, sides) {
  const results = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const order = Object.entries(sides);
    if (round % 2 === 1) order.reverse();
    for (const [name, run] of order) results[name].push(await run());
  }
  return results;
}

/** The median over the rounds of one side's median divided by the other's. */
export function ratio(rounds, reference) {
  return median(rounds.map((samples, round) => median(samples) / median(reference[round])));
}
