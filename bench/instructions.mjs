// How many instructions the hot pieces take that must not grow, counted by valgrind in a Node that interprets (--jitless): the same
// in each run, on any machine of the kind, and whatever else that does. What is compared is two counts, not two times.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { root } from "./support/product.mjs";

export const title = "instructions of the pieces that must not grow, interpreted";

const WORK = join(root, "bench/support/hot-pieces.mjs");
/** By piece, how many times it is done; what Node's start takes is subtracted. */
const PIECES = { frame: 2_000, steering: 500, scrape: 1 };

export async function run({ quick }) {
  const pieces = Object.entries(PIECES).slice(0, quick ? 1 : undefined);
  return pieces.map(([piece, times]) => {
    const once = (instructionsOf(piece, times) - instructionsOf(piece, 0)) / times;
    return {
      name: NAMES[piece],
      unit: "instructions",
      samples: times,
      median: once,
      low: once,
      high: once,
      p95: once,
      exact: true,
    };
  });
}

const NAMES = {
  frame: "a frame with eight fields, written and read",
  steering: "a program of two weights and ten networks, compiled",
  scrape: "a page of metrics of 1,000 listeners",
};

/** Of the whole process: `valgrind --tool=callgrind` ends with "Collected : N". */
function instructionsOf(piece, times) {
  const words = ["--tool=callgrind", "--callgrind-out-file=/dev/null", process.execPath];
  const flags = [
    "--jitless",
    "--single-threaded",
    "--predictable",
    "--no-warnings",
    "--hash-seed=1",
    "--random-seed=1",
  ];
  const said = execFileSync(
    "sh",
    ["-c", '"$0" "$@" 2>&1', "valgrind", ...words, ...flags, WORK, piece, String(times)],
    {
      encoding: "utf8",
      maxBuffer: 16 * 1024 * 1024,
    },
  );
  const collected = /Collected\s*:\s*(\d+)/u.exec(said)?.[1];
  if (collected === undefined) throw new Error(`valgrind has counted nothing:\n${said}`);
  return Number(collected);
}
