// What is measured: the compiled modules in dist/.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The checkout's folder. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

/** A compiled module by its source's path without the suffix, such as "handoff/native". */
export async function product(module) {
  const file = new URL(`../../dist/${module}.js`, import.meta.url);
  if (!existsSync(file)) throw new Error(`${module} is not built: run \`npm run build\``);
  return import(file.href);
}
