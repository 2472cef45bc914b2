// `npm run bench -- compare OLD.json NEW.json`: what has changed between two results, and what is only noise.
//
// A time counts as changed when the intervals of the two medians (95 %) do not meet and the medians are a tenth apart: less than that
// another minute on the same machine makes, too. Counts of instructions are exact: there a fiftieth is a change, and more of them is a
// failure. Figures of two machines are not compared, their instructions and ratios are.
import { readFileSync } from "node:fs";
import { table } from "./support/table.mjs";

const TIME_STEP = 0.1;
const EXACT_STEP = 0.02;

/** Both results, by what was measured. `verdict`: more, less, same, or incomparable; `hasGrown` where that is a failure. */
export function compare(old, now) {
  const sameMachine = ["cpu", "cores", "kernel", "node"].every(
    (fact) => old.machine[fact] === now.machine[fact],
  );
  const before = new Map(old.benchmarks.flatMap(rowsOf));
  const lines = now.benchmarks.flatMap(rowsOf).flatMap(([name, row]) => {
    const was = before.get(name);
    if (was === undefined) return [];
    const verdict =
      !sameMachine && row.exact !== true && row.of === undefined ? "incomparable" : verdictOf(was, row);
    return [{ name, was, row, verdict, hasGrown: row.exact === true && verdict === "more" }];
  });
  return { sameMachine, lines };
}

function rowsOf({ name: benchmark, rows, systems = [] }) {
  const own = (rows ?? []).flatMap((row) => [
    [`${benchmark}: ${row.name}`, row],
    ...(row.ratioInterval === undefined
      ? []
      : [[`${benchmark}: ${row.name}, × ${row.of}`, asRow(row.ratioInterval, row.of)]]),
  ]);
  const beside = systems.flatMap(({ name, throughput = {} }) =>
    Object.entries(throughput).map(([mode, interval]) => [
      `${benchmark}: ${name}, throughput, ${mode}`,
      asRow(interval, "the bare application"),
    ]),
  );
  return [...own, ...beside];
}

function asRow({ median, low, high }, of) {
  return { median, low, high, unit: "×", of };
}

function verdictOf(was, is) {
  const step = is.exact === true ? EXACT_STEP : TIME_STEP;
  const apart = is.exact === true || was.low > is.high || was.high < is.low;
  const change = is.median / was.median - 1;
  if (!apart || Math.abs(change) < step) return "same";
  return change > 0 ? "more" : "less";
}

export function compareFiles([oldFile, newFile]) {
  const [old, now] = [oldFile, newFile].map((file) => JSON.parse(readFileSync(file, "utf8")));
  const { sameMachine, lines } = compare(old, now);
  const rows = lines.map(({ name, was, row, verdict }) => [
    name,
    `${shown(was.median)} ${row.unit}`,
    `${shown(row.median)} ${row.unit}`,
    (row.median / was.median).toFixed(2),
    verdict,
  ]);
  console.log(table(["", "old", "new", "new ÷ old", "verdict"], rows).join("\n"));
  if (!sameMachine)
    console.log(
      "\nNot of the same machine, or not of the same Node: only ratios and instructions are compared.",
    );
  const grown = lines.filter(({ hasGrown }) => hasGrown);
  for (const { name } of grown) console.error(`${name}: more instructions than before`);
  return grown.length === 0 ? 0 : 1;
}

function shown(value) {
  if (value >= 1_000) return value.toFixed(0);
  return value >= 100 ? value.toFixed(1) : value.toFixed(3);
}
