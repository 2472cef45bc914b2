// `npm start`: the quickstart in this checkout, with directories of its own, and what to try next. `npm start -- chat` and
// `npm start -- canary` are other examples.
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

/** What to try, each in a second terminal, and what has to run beside the daemon. */
const EXAMPLES = {
  quickstart: {
    tries: [
      [`curl ${URL_OF_THE_SERVICE}`],
      ["bin/handoffctl deploy web 2 --detach", "a new generation, proved before anybody meets it"],
      ["bin/handoffctl status", "both generations, and who gets the connections"],
      [`curl ${URL_OF_THE_SERVICE}`],
      ["bin/handoffctl rollback web", "within 30 s nothing has to be started for that"],
    ],
  },
  chat: {
    tries: [
      [`# open ${URL_OF_THE_SERVICE} in two windows, and say something`],
      ["bin/handoffctl deploy web 2", "the windows keep their connections"],
    ],
  },
  canary: {
    beside: (home) => [
      "prometheus",
      "--config.file=examples/canary/prometheus.yml",
      `--storage.tsdb.path=${home}/prometheus`,
      "--web.listen-address=127.0.0.1:9090",
      "--log.level=error",
    ],
    tries: [
      [`while sleep 0.05; do curl -s ${URL_OF_THE_SERVICE}; done`, "users, in a third terminal"],
      ["bin/handoffctl deploy web 2", "5 %, 50 %, all: Prometheus finds nothing"],
      ["bin/handoffctl deploy web 3-faulty", "goes back by itself"],
    ],
  },
};

const root = fileURLToPath(new URL("..", import.meta.url));
const [name = "quickstart"] = process.argv.slice(2);
const home = join(tmpdir(), `handoffd-${name}-${process.getuid()}`);
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
async function announce(daemon, over) {
  const deadline = performance.now() + READY_DEADLINE_MS;
  while (!over.aborted) {
    if (await isReady()) {
      startBeside(daemon);
      return console.log(whatToTry());
    }
    if (performance.now() > deadline) {
      return console.error(
        `not ready after ${READY_DEADLINE_MS / 1000} s: the log above says what it waits for`,
      );
    }
    await delay(100, undefined, { signal: over }).catch(() => {}); // aborted: the loop ends
  }
}

function whatToTry() {
  const lines = EXAMPLES[name].tries.map(([line, why]) =>
    why === undefined ? `  ${line}` : `  ${line.padEnd(36)}   ${why}`,
  );
  return `
handoffd is ready. In a second terminal, in this folder:

  export HANDOFFD_SOCKET=${socket}
${lines.join("\n")}

Ctrl-C here ends it.
`;
}

/** Ends with the daemon. A daemon without it is of no use. */
function startBeside(daemon) {
  const [file, ...words] = EXAMPLES[name].beside?.(home) ?? [];
  if (file === undefined) return;
  const child = spawn(file, words, { cwd: root, stdio: ["ignore", "inherit", "inherit"], detached: true });
  daemon.on("exit", () => child.kill());
  child.on("error", () => {
    console.error(`${file} is missing: apt-get install ${file}`);
    daemon.kill();
  });
}

async function main() {
  if (!Object.hasOwn(EXAMPLES, name)) {
    throw new Error(`there is no example "${name}": ${Object.keys(EXAMPLES).join(", ")}`);
  }
  for (const folder of [home, runtime, state]) privateFolder(folder);
  buildWhatIsMissing();

  const daemon = spawn(join(root, "bin/handoffd"), ["run", "-c", `examples/${name}/handoffd.yaml`], {
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

  const [code] = await Promise.all([ended, announce(daemon, over.signal)]);
  return code;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
