// From samples to a row. The sides of a comparison take turns, round by round, so that what else the machine
// does meets them all; a ratio is the median of the rounds' own ratios.

export function quantile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export function median(samples) {
  return quantile(samples, 0.5);
}

/**
 * A row of a result. `samples` are numbers in `unit`; `low` and `high` are the interval of the median; `goal` is the most that the
 * median (or the ratio) may be.
 */
export function row(name, unit, samples, more = {}) {
  const { low, high } = medianInterval(samples);
  return {
    name,
    unit,
    samples: samples.length,
    median: median(samples),
    low,
    high,
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
  return ratioInterval(rounds, reference).median;
}

/** The same with its interval. */
export function ratioInterval(rounds, reference) {
  return medianInterval(rounds.map((samples, round) => median(samples) / median(reference[round])));
}

/**
 * The median with the interval in which the true one lies with a probability of at least 95 %, by the order of the samples alone
 * (the sign test): of ten, from the second to the ninth. Fewer than six have no such interval: then all of them are in it.
 */
export function medianInterval(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const { length } = sorted;
  let below = 0; // The probability that so few samples are below the true median.
  let term = 0.5 ** length;
  let skipped = 0;
  while (below + term <= 0.025 && skipped < length) {
    below += term;
    term *= (length - skipped) / (skipped + 1);
    skipped++;
  }
  const first = Math.max(0, skipped - 1);
  return { median: median(sorted), low: sorted[first], high: sorted[length - 1 - first], pairs: length };
}
