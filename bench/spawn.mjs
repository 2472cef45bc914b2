// How long the event loop stands still while a process is started, by a process that is as large as a daemon may
// become. fork copies the page tables of all that; the addon's spawn shares them until the exec.
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { once } from "node:events";
import process from "node:process";
import { ratio, row, takeTurns } from "./support/figures.mjs";
import { product } from "./support/product.mjs";

export const title = "how long the event loop stands still for the start of a process, at 150 MB";

const TARGET_RSS = 150 * 1024 * 1024;
const PROGRAM = "/bin/true";

export async function run({ quick }) {
  const { native } = await product("handoff/native");
  const ballast = grow();
  const devNull = openSync("/dev/null", "r+");
  const ours = () =>
    repeat(5, async () => {
      const began = performance.now();
      const { pidfd } = native.spawn(PROGRAM, [PROGRAM], [], [devNull, devNull, devNull]);
      const blocked = performance.now() - began;
      await ended(native, pidfd);
      return blocked;
    });
  const node = () =>
    repeat(5, async () => {
      const began = performance.now();
      const child = spawn(PROGRAM, [], { stdio: "ignore" });
      const blocked = performance.now() - began;
      await once(child, "exit");
      return blocked;
    });
  const times = await takeTurns(quick ? 2 : 20, { ours, node });
  closeSync(devNull);
  const size = Math.round(process.memoryUsage.rss() / 1024 / 1024);
  ballast.length = 0;
  return [
    row(`our addon (${size} MB)`, "ms", times.ours.flat(), {
      ratio: ratio(times.ours, times.node),
      of: "child_process",
      goal: 1,
    }),
    row(`child_process.spawn (${size} MB)`, "ms", times.node.flat()),
  ];
}

/** Memory that is there: every page of it written. */
function grow() {
  const blocks = [];
  while (process.memoryUsage.rss() < TARGET_RSS) blocks.push(Buffer.alloc(4 * 1024 * 1024, 1));
  return blocks;
}

async function repeat(times, once) {
  const results = [];
  for (let i = 0; i < times; i++) results.push(await once());
  return results;
}

function ended(native, pidfd) {
  return new Promise((resolve) => {
    const poll = new native.Poll(pidfd, () => {
      poll.close();
      native.waitPidfd(pidfd, true);
      native.close(pidfd);
      resolve();
    });
    poll.start();
  });
}
