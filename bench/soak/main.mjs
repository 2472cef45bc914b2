// `npm run soak -- NAME`: what takes too long for `npm test`, each with a verdict.
//
//   npm run soak -- api-fuzz                       at full size; the result goes to bench/results/api-fuzz.json
//   npm run soak -- api-fuzz --quick --json FILE   short, as the tests run it, written to FILE instead
//   npm run soak -- api-fuzz --seed 42             the same again
//
// Each is a file of this folder that exports `run({ quick, seed })`, which resolves to { ok, … }. Exit code 1: not ok.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { machine } from "../support/machine.mjs";
import { root } from "../support/product.mjs";

const here = join(root, "bench/soak");

async function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "string" },
      quick: { type: "boolean", default: false },
      seed: { type: "string", default: String(Date.now() % 1_000_000_007) },
    },
  });
  const [name = ""] = positionals;
  const file = join(here, `${name}.mjs`);
  if (!/^[a-z-]+$/u.test(name) || name === "main" || !existsSync(file)) {
    const names = readdirSync(here).map((each) => each.replace(".mjs", ""));
    console.error(`no such soak: ${name} (there are ${names.filter((each) => each !== "main").join(", ")})`);
    return 2;
  }
  const seed = Number(values.seed);
  const facts = machine();
  const startedAt = new Date().toISOString();
  const begun = performance.now();
  const { run } = await import(file);
  const result = await run({ quick: values.quick, seed });
  const seconds = Math.round((performance.now() - begun) / 100) / 10;
  const report = { name, startedAt, seconds, seed, quick: values.quick, machine: facts, result };
  const text = `${JSON.stringify(report, null, 2)}\n`;
  const written = values.json ?? (values.quick ? null : join(root, "bench/results", `${name}.json`));
  if (written !== null) {
    mkdirSync(join(root, "bench/results"), { recursive: true });
    writeFileSync(written, text);
  }
  process.stdout.write(text);
  return result.ok ? 0 : 1;
}

process.exitCode = await main();
