// `npm start`: the quickstart in this checkout, with directories of its own, and what to try next.
//
// The daemon runs in a session of its own, so that a Ctrl-C in the terminal reaches this process only and is passed
// on once; npm passes on what the terminal has sent already.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, lstatSync, mkdirSync } from "node:fs";
import { request } from "node:http";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const READY_DEADLINE_MS = 60_000;
const SAME_SIGNAL_MS = 1_000;
const URL_OF_THE_SERVICE = "http://127.0.0.1:8080/";
const root = fileURLToPath(new URL("..", import.meta.url));
const home = join(tmpdir(), `handoffd-quickstart-${process.getuid()}`);
const runtime = join(home, "run");
const state = join(home, "state");
const socket = join(runtime, "admin.sock");

/** The folder's name can be guessed and /tmp is everybody's: what is not ours is not used. */
function privateFolder(path) {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const found = lstatSync(path);
  if (!found.isDirectory() || found.uid !== process.getuid()) {
    throw new Error(`${path} belongs to someone else: remove it, or set TMPDIR to a directory of yours`);
  }
  chmodSync(path, 0o700);
}

function buildWhatIsMissing() {
  const scripts = [];
  if (!existsSync(join(root, "build/Release/handoff.node"))) scripts.push("install");
  if (!existsSync(join(root, "dist/cli/handoffd.js"))) scripts.push("build");
  for (const script of scripts) {
    const { status, error } = spawnSync("npm", ["run", script], { cwd: root, stdio: "inherit" });
    if (status !== 0) throw new Error(`\`npm run ${script}\` failed: has \`npm ci\` run?`, { cause: error });
  }
}

/** Whether GET /readyz answers 200 over the admin socket; a daemon that is not there yet is not ready. */
function isReady() {
  return new Promise((resolve) => {
    const asked = request({ socketPath: socket, path: "/readyz", timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(false));
    asked.end();
  });
}

/** Says what to try once the daemon is ready, or that it is not; nothing when it has ended before. */
async function announce(over) {
  const deadline = performance.now() + READY_DEADLINE_MS;
  while (!over.aborted) {
    if (await isReady()) return console.log(whatToTry());
    if (performance.now() > deadline) {
      return console.error(
        `not ready after ${READY_DEADLINE_MS / 1000} s: the log above says what it waits for`,
      );
    }
    await delay(100, undefined, { signal: over }).catch(() => {}); // aborted: the loop ends
  }
}

function whatToTry() {
  return `
handoffd is ready. In a second terminal, in this folder:

  curl ${URL_OF_THE_SERVICE}
  export HANDOFFD_SOCKET=${socket}
  bin/handoffctl deploy web 2 --detach   a new generation, proved before anybody meets it
  bin/handoffctl status                  both generations, and who gets the connections
  curl ${URL_OF_THE_SERVICE}
  bin/handoffctl rollback web            within 30 s nothing has to be started for that

Ctrl-C here ends it.
`;
}

async function main() {
  for (const folder of [home, runtime, state]) privateFolder(folder);
  buildWhatIsMissing();

  const daemon = spawn(join(root, "bin/handoffd"), ["run", "-c", "examples/quickstart/handoffd.yaml"], {
    cwd: root,
    env: { ...process.env, RUNTIME_DIRECTORY: runtime, STATE_DIRECTORY: state },
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  const over = new AbortController();
  const ended = new Promise((resolve, reject) => {
    daemon.on("error", reject);
    daemon.on("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  }).finally(() => over.abort());

  let passedOnAt = -Infinity;
  const passOn = (signal) => {
    if (performance.now() - passedOnAt < SAME_SIGNAL_MS) return;
    passedOnAt = performance.now();
    daemon.kill(signal);
  };
  process.on("SIGINT", () => passOn("SIGINT"));
  process.on("SIGTERM", () => passOn("SIGTERM"));
  process.on("SIGHUP", () => passOn("SIGTERM")); // the terminal has gone

  const [code] = await Promise.all([ended, announce(over.signal)]);
  return code;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
