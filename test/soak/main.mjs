// `npm run soak -- NAME [--seed N] [--OPTION N]`: the full size of what `npm test` runs a short form of. The result is written to
// bench/results/soak-NAME.json. NAME.mjs exports `run(options)`, which resolves to { passed, report }.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { machine } from "../../bench/support/machine.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const results = fileURLToPath(new URL("../../bench/results/", import.meta.url));
const [name = "", ...rest] = process.argv.slice(2);
const file = `${here}${name}.mjs`;
const names = readdirSync(here).flatMap((each) => /^(?!main|in-vitest)(.+)\.mjs$/.exec(each)?.[1] ?? []);
if (!names.includes(name) || !existsSync(file)) {
  process.stderr.write(`usage: npm run soak -- ${names.join(" | ")} [--seed N] [--OPTION N]\n`);
  process.exit(2);
}
const { tokens } = parseArgs({ args: rest, strict: false, tokens: true });
const given = tokens
  .filter(({ kind }) => kind === "option")
  .map((token) => [token.name, Number(rest[token.index + 1])]);
const options = { seed: Math.floor(Date.now() / 1000), ...Object.fromEntries(given) };
const before = machine();
const at = new Date().toISOString();
const { run } = await import(file);
const { passed, report } = await run(options);
mkdirSync(results, { recursive: true });
const result = { name, at, ...options, machine: before, passed, report };
writeFileSync(`${results}soak-${name}.json`, `${JSON.stringify(result, null, 2)}\n`);
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
process.exitCode = passed ? 0 : 1;
