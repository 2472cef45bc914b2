// The addon as the npm package brings it: built for Linux on x86-64 with glibc, for every Node from 20 on (Node-API). Whoever has
// another machine builds it, as a checkout does.
//
// preflight.mjs needs this before anything is installed, perhaps on an old Node: only Node's own modules and plain syntax.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

const build = fileURLToPath(new URL("../build", import.meta.url));
const addon = `${build}/Release/handoff.node`;

/**
 * Whether there is an addon that came with the package and that this Node can load. One that was built here has node-gyp's
 * Makefile beside it, and make knows whether it is up to date. Tried in a process of its own: whatever an addon of another
 * machine does, the installation goes on.
 */
export function hasPrebuilt() {
  if (process.env.npm_config_build_from_source) return false;
  if (!existsSync(addon) || existsSync(`${build}/Makefile`)) return false;
  const { status } = spawnSync(process.execPath, ["-e", "require(process.argv[1])", addon], {
    stdio: "ignore",
    timeout: 60_000,
  });
  return status === 0;
}
