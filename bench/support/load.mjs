// bench/load from the benchmarks, and what several of its reports say together.
import { once } from "node:events";
import { createInterface } from "node:readline";
import { start } from "./child.mjs";
import { loadGenerator } from "./compile.mjs";

/** How a request may fail, as the report and the tables name it. */
export const FAILURES = {
  refused: "refused",
  reset: "reset",
  eof: "closed without an answer",
  resetOnReuse: "reset on reuse",
  eofOnReuse: "eof on reuse",
  cut: "truncated",
  malformed: "malformed",
  timeout: "timeout",
  badStatus: "5xx",
};

/**
 * Starts a load: `options` are bench/load's, without the dashes. `started` resolves with the first good answer, `done` with the
 * report; `stop()` lets it finish what is under way. Belongs to whoever disposes of it.
 */
export function startLoad(port, options) {
  const words = Object.entries({ target: `127.0.0.1:${port}`, "progress-fd": 3, histogram: 1, ...options });
  const load = start(
    loadGenerator(),
    words.flatMap(([name, value]) => [`--${name}`, String(value)]),
    { stdio: ["ignore", "pipe", "inherit", "pipe"] },
  );
  const progress = createInterface({ input: load.child.stdio[3] });
  const events = { started: false, settled: false };
  progress.on("line", (line) => {
    const { event } = JSON.parse(line);
    if (event in events) events[event] = true;
    progress.emit("event");
  });
  const isOver = once(progress, "close");
  const seen = async (event) => {
    while (!events[event]) {
      const over = await Promise.race([once(progress, "event").then(() => false), isOver.then(() => true)]);
      if (over && !events[event]) throw new Error(`the load has ended and has not ${event}`);
    }
  };
  const done = load.rest().then((text) => {
    if (text === "") throw new Error("the load generator has failed");
    return JSON.parse(text);
  });
  done.catch(() => undefined); // Whoever awaits it sees the error.
  return {
    started: () => seen("started"),
    settled: () => seen("settled"),
    done,
    stop() {
      load.child.kill("SIGTERM");
      return done;
    },
    async [Symbol.asyncDispose]() {
      load.child.kill("SIGKILL");
      await load.exit;
    },
  };
}

/** Failed requests by kind; those of which there is none are left out. */
export function failuresOf(reports) {
  const counts = Object.keys(FAILURES).map((kind) => [
    kind,
    reports.reduce((sum, report) => sum + report[kind], 0),
  ]);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

/** Percentiles over the reports' histograms, in milliseconds; null where nothing was answered. */
export function latenciesOf(reports) {
  const buckets = new Map();
  for (const [ms, count] of reports.flatMap(({ histogram }) => histogram))
    buckets.set(ms, (buckets.get(ms) ?? 0) + count);
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return null;
  const at = (share) => {
    let left = share * total;
    return (sorted.find(([, count]) => (left -= count) < 0) ?? sorted.at(-1))[0];
  };
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), requests: total };
}
