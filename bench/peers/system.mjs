// What the benchmark does with each system, whatever it is: it runs on a port of 127.0.0.1, and it is told to restart.
//
//   { name, application, missing(), start(own, folder) }   missing(): why it cannot be measured here, or null
//   start() → { port, supervisors(), restart() }           restart() resolves when the system's own command has done
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { start } from "../support/child.mjs";

const READY_MS = 20_000;
const LOOK_MS = 20;

export const APPLICATION = fileURLToPath(new URL("application.mjs", import.meta.url));

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Why a program cannot be measured here: it does not say its version. null: it does. */
export function missingProgram(file, args, packageName) {
  return versionOf(file, args) === null ? `${file} is missing (${packageName})` : null;
}

/** The first number with a dot that it says; null when it cannot be run. */
export function versionOf(file, args) {
  try {
    const said = execFileSync(file, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    return /\d+\.[\d.]+/u.exec(said)?.[0].replace(/\.$/u, "") ?? "";
  } catch {
    return null;
  }
}

/** A process that writes to a file of its folder and ends with `own`, by `signal`. */
export function startProcess(own, folder, file, args, { env = {}, signal = "SIGTERM" } = {}) {
  const log = openSync(join(folder, "log"), "a");
  try {
    const started = start(file, args, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", log, log],
    });
    own({ [Symbol.asyncDispose]: () => started.end(signal) });
    return started;
  } finally {
    closeSync(log);
  }
}

/** Waits until somebody answers on the port. */
export async function answers(port, until = () => true) {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const answer = await ask(port).catch(() => null);
    if (answer !== null && until(answer)) return;
    if (performance.now() > deadline) throw new Error(`nobody answers on port ${port}`);
    await delay(LOOK_MS);
  }
}

async function ask(port) {
  const asked = get({
    host: "127.0.0.1",
    port,
    path: "/",
    agent: false,
    signal: AbortSignal.timeout(READY_MS),
  });
  const [answer] = await once(asked, "response");
  answer.resume();
  await once(answer, "end");
  return { status: answer.statusCode, generation: answer.headers["x-generation"] };
}
