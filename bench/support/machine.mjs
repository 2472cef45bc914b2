// Where and of what the figures are.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { root } from "./product.mjs";

export function machine() {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    kernel: release(),
    node: process.version,
    loadAverage: loadavg()[0],
    version: JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version,
    commit: commit(),
  };
}

/** null where there is no git, or no repository. */
function commit() {
  try {
    const git = (...args) =>
      execFileSync("git", ["-C", root, ...args], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }).trim();
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain") === "" ? "" : " and changes");
  } catch {
    return null;
  }
}
