// `npm run bench`: what the parts of handoffd that must be fast cost on this machine (docs/performance.md).
//
//   npm run bench                                   all of them, some twenty seconds
//   npm run bench -- descriptor deploy              these
//   npm run bench -- --quick --json figures.json    short, and written down as JSON too
//
// Needs `npm run build` and a C compiler. Measuring again is the only way to compare: the figures are of this
// machine at this minute, the ratios less so.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { machine } from "./support/machine.mjs";
import { machineMarkdown, markdown } from "./support/table.mjs";

// Loaded when it is its turn: a broken one does not stand in the others' way.
const BENCHMARKS = {
  descriptor: () => import("./descriptor.mjs"),
  spawn: () => import("./spawn.mjs"),
  weight: () => import("./weight.mjs"),
  steering: () => import("./steering.mjs"),
  deploy: () => import("./deploy.mjs"),
  cli: () => import("./cli.mjs"),
  scrape: () => import("./scrape.mjs"),
};

async function measure(name, options) {
  const { title, run } = await BENCHMARKS[name]();
  return { name, title, rows: await run(options) };
}

async function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { json: { type: "string" }, quick: { type: "boolean", default: false } },
  });
  const unknown = positionals.filter((name) => !(name in BENCHMARKS));
  if (unknown.length > 0) {
    console.error(
      `no such benchmark: ${unknown.join(", ")} (there are ${Object.keys(BENCHMARKS).join(", ")})`,
    );
    return 2;
  }
  const facts = machine();
  const startedAt = new Date().toISOString();
  console.log(machineMarkdown(facts));
  const benchmarks = [];
  for (const name of positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)) {
    const result = await measure(name, { quick: values.quick });
    benchmarks.push(result);
    console.log(markdown(result));
  }
  if (values.json !== undefined) {
    const content = { startedAt, quick: values.quick, machine: facts, benchmarks };
    writeFileSync(values.json, `${JSON.stringify(content, null, 2)}\n`);
  }
  return 0;
}

process.exitCode = await main();
