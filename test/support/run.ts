/** A program that is run to its end, with what it said. */
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { environment, start, withDeadline } from "./processes.ts";

export interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly deadlineMs: number;
  readonly cwd?: string;
  /** The whole environment. Default: what tests give. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What it exits with is the caller's to judge. Kills it, and throws, when it has not ended in time. */
export async function tried(
  file: string,
  words: readonly string[],
  { deadlineMs, cwd, env = environment() }: RunOptions,
): Promise<Said> {
  const process = start(file, words, {
    env,
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
  });
  const read = Promise.all([
    process.exit,
    text(process.child.stdout as Readable),
    text(process.child.stderr as Readable),
  ]);
  try {
    const [{ code }, stdout, stderr] = await withDeadline(read, deadlineMs, [file, ...words].join(" "));
    return { code, stdout, stderr };
  } finally {
    process.kill("SIGKILL");
  }
}

/** As `tried`; throws with all that it said unless it exits with 0. */
export async function run(file: string, words: readonly string[], options: RunOptions): Promise<Said> {
  const said = await tried(file, words, options);
  if (said.code === 0) return said;
  throw new Error(`${[file, ...words].join(" ")}: ${said.code ?? "a signal"}\n${said.stdout}${said.stderr}`);
}
