// Holds the C and C++ sources to .clang-format.
//
//   node tools/clang-format.mjs            says what differs; exit status 1 when something does
//   node tools/clang-format.mjs --write    puts it right
//
// The version in package.json decides, not the one that happens to be installed: two versions do not agree.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const FOLDERS = ["handoff/native", "bench", "test"];
const SOURCE = /\.(c|cc|cpp|h|hpp)$/;
const root = fileURLToPath(new URL("..", import.meta.url));
const binary = join(root, `node_modules/clang-format/bin/${process.platform}_${process.arch}/clang-format`);

function sources(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && SOURCE.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

function main() {
  if (!existsSync(binary)) {
    // Nobody should be kept from testing by the lack of a formatter; the check that counts is CI's.
    const sentence = `the clang-format package has no binary for ${process.platform}/${process.arch}`;
    console.error(`${sentence}: C and C++ sources were not looked at`);
    return process.env.CI ? 1 : 0;
  }
  const files = FOLDERS.filter((folder) => existsSync(join(root, folder))).flatMap(sources);
  if (files.length === 0) return 0;
  const mode = process.argv.includes("--write") ? ["-i"] : ["--dry-run", "-Werror"];
  const result = spawnSync(binary, ["--style=file", ...mode, ...files], { stdio: "inherit" });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

process.exitCode = main();
