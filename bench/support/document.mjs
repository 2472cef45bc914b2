// docs/performance.md shows bench/results: between `<!-- bench NAME -->` and `<!-- /bench -->` is what NAME.json says.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./product.mjs";
import { machineMarkdown } from "./table.mjs";

const DOCUMENT = join(root, "docs/performance.md");
const PLACE = /(<!-- bench (\S+) -->\n)[^]*?(<!-- \/bench -->)/gu;

/** A result as the document has it. `markdownOf` says how a benchmark shows itself. */
export async function textOf({ machine, benchmarks }, markdownOf) {
  const tables = await Promise.all(benchmarks.map(async (each) => (await markdownOf(each.name))(each)));
  return `${tables.join("\n")}\n${machineMarkdown(machine)}`;
}

/** Puts every result into its place. Returns the names of those that were not up to date; nothing is written unless `isSaved`. */
export async function document(markdownOf, isSaved) {
  const before = readFileSync(DOCUMENT, "utf8");
  const texts = new Map();
  for (const [, , name] of before.matchAll(PLACE)) {
    const file = join(root, "bench/results", `${name}.json`);
    if (!existsSync(file)) throw new Error(`${DOCUMENT} shows ${name}, and there is no ${file}`);
    texts.set(name, await textOf(JSON.parse(readFileSync(file, "utf8")), markdownOf));
  }
  const old = [];
  const after = before.replace(PLACE, (whole, begin, name, end) => {
    const now = `${begin}\n${texts.get(name)}\n${end}`;
    if (now !== whole) old.push(name);
    return now;
  });
  if (isSaved) writeFileSync(DOCUMENT, after);
  return old;
}
