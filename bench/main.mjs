// `npm run bench`: what the parts of handoffd that must be fast cost on this machine (docs/performance.md).
//
//   npm run bench                                   all of them, some twenty seconds
//   npm run bench -- descriptor deploy              these
//   npm run bench -- handoff                        what a hand-over is made of: descriptor, spawn, weight, steering
//   npm run bench -- --quick --json figures.json    short, and written down as JSON too
//
//   npm run bench -- deploy --save                  into bench/results, and into docs/performance.md
//   npm run bench -- document                       whether docs/performance.md shows what is in bench/results
//   npm run bench -- peers                          beside other systems: ten minutes, alone on the machine
//   npm run bench -- compare OLD.json NEW.json      what is different, and what is noise
//   npm run bench -- peers --systems handoffd,node:cluster --restarts 3
//
// Needs `npm run build` and a C compiler. Measuring again is the only way to compare: the figures are of this
// machine at this minute, the ratios less so.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { machine } from "./support/machine.mjs";
import { document } from "./support/document.mjs";
import { root } from "./support/product.mjs";
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
/** Minutes, and other people's programs: only when they are asked for. */
const LONG = {
  instructions: () => import("./instructions.mjs"),
  footprint: () => import("./footprint.mjs"),
  scale: () => import("./scale.mjs"),
  peers: () => import("./peers.mjs"),
};
const ALL = { ...BENCHMARKS, ...LONG };
const GROUPS = { handoff: ["descriptor", "spawn", "weight", "steering"] };

async function measure(name, options) {
  const benchmark = await ALL[name]();
  const result = await benchmark.run(options);
  const { title } = benchmark;
  const whole = { name, title, ...(Array.isArray(result) ? { rows: result } : result) };
  return { whole, text: (benchmark.markdown ?? markdown)(whole) };
}

/** Into bench/results, and from there into docs/performance.md. */
async function save(name, content, text) {
  const file = join(root, "bench/results", name);
  writeFileSync(`${file}.json`, `${JSON.stringify(content, null, 2)}\n`);
  writeFileSync(`${file}.md`, `${text}\n${machineMarkdown(content.machine)}`);
  await document(markdownOf, true);
}

async function markdownOf(name) {
  return (await ALL[name]()).markdown ?? markdown;
}

/** Whether the document shows what is in bench/results; with --save it does afterwards. */
async function checkDocument(isSaved) {
  const old = await document(markdownOf, isSaved);
  if (isSaved || old.length === 0) return 0;
  console.error(
    `docs/performance.md does not show bench/results: ${old.join(", ")} (npm run bench -- document --save)`,
  );
  return 1;
}

async function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "string" },
      save: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      systems: { type: "string" },
      restarts: { type: "string" },
    },
  });
  if (positionals[0] === "document") return checkDocument(values.save);
  if (positionals[0] === "compare") return (await import("./compare.mjs")).compareFiles(positionals.slice(1));
  const names = positionals.flatMap((name) => GROUPS[name] ?? [name]);
  const unknown = names.filter((name) => !(name in ALL));
  if (unknown.length > 0) {
    const known = [...Object.keys(ALL), ...Object.keys(GROUPS)].join(", ");
    console.error(`no such benchmark: ${unknown.join(", ")} (there are ${known}; and npm run soak -- NAME)`);
    return 2;
  }
  const given = {
    quick: values.quick,
    systems: values.systems?.split(","),
    ...(values.restarts !== undefined && { restarts: Number(values.restarts) }),
  };
  const facts = machine();
  const startedAt = new Date().toISOString();
  console.log(machineMarkdown(facts));
  const benchmarks = [];
  for (const name of names.length > 0 ? names : Object.keys(BENCHMARKS)) {
    const { whole, text } = await measure(name, given);
    benchmarks.push(whole);
    console.log(text);
    if (values.save)
      save(name, { startedAt, quick: values.quick, machine: facts, benchmarks: [whole] }, text);
  }
  if (values.json !== undefined) {
    const content = { startedAt, quick: values.quick, machine: facts, benchmarks };
    writeFileSync(values.json, `${JSON.stringify(content, null, 2)}\n`);
  }
  return 0;
}

process.exitCode = await main();
