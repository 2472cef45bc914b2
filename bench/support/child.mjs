// Processes that a benchmark starts: every one is ended by whoever started it, by its pid.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const END_MS = 20_000;

/** Starts a process and returns it with `line()`, the next line of its output, and `end()`. */
export function start(file, args, options = {}) {
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"], ...options });
  const exit = once(child, "exit"); // Rejects with the error of a process that could not be started.
  exit.catch(() => undefined);
  const lines =
    child.stdout === null ? null : createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    exit,
    async line() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${file} has ended`);
      return value;
    },
    /** All the lines that are left, when it has ended. */
    async rest() {
      const all = [];
      for await (const line of lines) all.push(line);
      return all.join("\n");
    },
    /** SIGTERM, and SIGKILL when that was not enough. */
    async end(signal = "SIGTERM") {
      child.kill(signal);
      const timer = setTimeout(() => child.kill("SIGKILL"), END_MS);
      await exit;
      clearTimeout(timer);
    },
  };
}

/**
 * Runs `body` with a function that takes over what has an asynchronous dispose, and disposes of it all at the end, the
 * newest first. (Plain Node 20 does not know `await using`.)
 */
export async function disposing(body) {
  const owned = [];
  try {
    return await body((thing) => {
      owned.push(thing);
      return thing;
    });
  } finally {
    for (const thing of owned.reverse()) await thing[Symbol.asyncDispose]();
  }
}
