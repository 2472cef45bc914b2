// The C programs of the benchmarks, compiled into build/ when a source is newer.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { root } from "./product.mjs";

const FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];

function modified(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function compile(folder, sources, binary, flags) {
  const newest = Math.max(...readdirSync(folder).map((name) => modified(join(folder, name))));
  if (modified(binary) > newest) return binary;
  mkdirSync(dirname(binary), { recursive: true });
  // Moved into its place when it is whole: two builds at a time do no harm.
  const made = `${binary}.${process.pid}`;
  try {
    execFileSync("cc", [...FLAGS, ...flags, ...sources, "-o", made], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    renameSync(made, binary);
  } finally {
    rmSync(made, { force: true });
  }
  return binary;
}

/** One program of bench/c: "floor", "application" or "visitor". Static, so that it begins soon after its exec. */
export function program(name) {
  const folder = join(root, "bench/c");
  return compile(folder, [join(folder, `${name}.c`)], join(root, "build/bench", name), ["-static"]);
}

/** The load generator, bench/load. */
export function loadGenerator() {
  const folder = join(root, "bench/load");
  const sources = readdirSync(folder).filter((name) => name.endsWith(".c"));
  return compile(
    folder,
    sources.map((name) => join(folder, name)),
    join(root, "build/load"),
    [],
  );
}
