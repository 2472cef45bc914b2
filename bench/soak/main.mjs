// `npm run soak -- NAME`: what takes too long for `npm test`, each with a verdict.
//
//   npm run soak -- api-fuzz                       at full size; the result goes to bench/results/api-fuzz.json
//   npm run soak -- api-fuzz --quick --json FILE   short, as the tests run it, written to FILE instead
//   npm run soak -- chaos --seed 42 --seconds 60   the same again, with an option of its own
//
// Each is a file of this folder that exports `run({ quick, seed, … })`, which resolves to { ok, … }, or one of test/soak, which is
// written as the tests are. Exit code 1: not ok.
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { machine } from "../support/machine.mjs";
import { root } from "../support/product.mjs";
import { runInVitest } from "./in-vitest.mjs";

/** After the name. */
const ARGUMENTS = process.argv.slice(3);
const HELPERS = ["main", "in-vitest"];
const OPTIONS = {
  json: { type: "string" },
  quick: { type: "boolean", default: false },
  seed: { type: "string", default: String(Date.now() % 1_000_000_007) },
};

/** By name, what runs it. */
function soaks() {
  const own = readdirSync(join(root, "bench/soak"))
    .flatMap((each) => /^(.+)\.mjs$/u.exec(each)?.[1] ?? [])
    .filter((name) => !HELPERS.includes(name))
    .map((name) => [name, async (options) => (await import(`./${name}.mjs`)).run(options)]);
  const asTests = readdirSync(join(root, "test/soak"))
    .flatMap((each) => /^(.+)\.soak\.ts$/u.exec(each)?.[1] ?? [])
    .map((name) => [name, (options) => runInVitest(name, options)]);
  return new Map([...own, ...asTests]);
}

/** What is not an option of this program is a number, for the soak itself. */
function optionsOf(tokens) {
  const own = tokens.filter(({ kind, name }) => kind === "option" && !(name in OPTIONS));
  // "--seconds=60", or the word that follows.
  const numbers = own.map(({ name, value, index }) => [
    name,
    Number(value ?? ARGUMENTS[index + 1] ?? "none"),
  ]);
  const [wrong] = numbers.find(([, number]) => !Number.isFinite(number)) ?? [];
  if (wrong !== undefined) throw new Error(`--${wrong} wants a number`);
  return Object.fromEntries(numbers);
}

async function main() {
  const { values, tokens } = parseArgs({
    options: OPTIONS,
    args: ARGUMENTS,
    strict: false,
    tokens: true,
  });
  const name = process.argv[2] ?? "";
  const all = soaks();
  const soak = all.get(name);
  if (soak === undefined) {
    console.error(
      `usage: npm run soak -- ${[...all.keys()].join(" | ")} [--quick] [--seed N] [--json FILE] [--OPTION N]`,
    );
    return 2;
  }
  const given = { seed: Number(values.seed), ...optionsOf(tokens) };
  const facts = machine();
  const startedAt = new Date().toISOString();
  const begun = performance.now();
  const result = await soak({ quick: values.quick, ...given });
  const seconds = Math.round((performance.now() - begun) / 100) / 10;
  const report = { name, startedAt, seconds, ...given, quick: values.quick, machine: facts, result };
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
