// node tools/stage-program.mjs DIR: the built program without its packages, as an image has it, with the licences of what is bundled.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { copyParts, copyProgram, bundled, licensesOf, notBuilt } from "./staging.mjs";

const [target] = process.argv.slice(2);
const missing = notBuilt();
if (target === undefined || missing.length > 0) {
  console.error(target === undefined ? "usage: stage-program.mjs DIR" : `not built: ${missing.join(", ")}`);
  process.exit(1);
}
copyProgram(target);
copyParts(["LICENSE"], target);
writeFileSync(join(target, "LICENSES.txt"), licensesOf(bundled()));
