// A real daemon with one service, the least that an application can be, in a folder of its own.
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { start } from "./child.mjs";
import { program } from "./compile.mjs";
import { root } from "./product.mjs";

const READY_MS = 20_000;
/** A thousand listeners and three hundred processes, on a machine that has something else to do too. */
const START_MS = 120_000;

/** Wall-clock time in milliseconds, as exact as the other processes' CLOCK_REALTIME. */
export function wallMs() {
  return performance.timeOrigin + performance.now();
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/**
 * Runs `bin/handoffd`; the service "api" is bench/c/application.c, and a deploy of it waits for nothing. `more`: listeners that
 * no service uses, by `kind` "tcp" or "unix". `rest` gets the daemon's folder and returns what the configuration has besides,
 * `admin.socket` but for its path. `others`: services beside it, each with the first of those listeners that is free. `onSpawned` is
 * called with the port when the process has just been started, and awaited.
 */
export async function startDaemon({ more = 0, kind = "tcp", others = 0, rest = () => ({}), onSpawned } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "hd-bench-"));
  const socket = join(folder, "admin.sock");
  const record = join(folder, "record");
  const port = await freePort();
  for (const name of ["run", "state", "unix"]) mkdirSync(join(folder, name));
  writeFileSync(record, "");
  const service = {
    command: [program("application")],
    environment: { BENCH_RECORD: record },
    listeners: ["web"],
    ready: { by: "listening" },
    verify: [{ http: { listener: "web", path: "/", expect: 200, count: 1 } }],
    deploy: { strategy: "blue-green", bake: "0s" },
  };
  const unused = Array.from({ length: more }, (_, index) => [
    `unused-${index}`,
    { address: kind === "tcp" ? "tcp:127.0.0.1:0" : `unix:${join(folder, "unix", String(index))}` },
  ]);
  const beside = Array.from({ length: others }, (_, index) => [
    `other-${index}`,
    { ...service, environment: {}, verify: [], listeners: [`unused-${index}`] },
  ]);
  const config = {
    listeners: { web: { address: `tcp:127.0.0.1:${port}` }, ...Object.fromEntries(unused) },
    services: { api: service, ...Object.fromEntries(beside) },
    paths: { runtime: join(folder, "run"), state: join(folder, "state") },
    ...rest(folder),
  };
  config.admin = { ...config.admin, socket: { ...config.admin?.socket, path: socket } };
  writeFileSync(join(folder, "handoffd.yaml"), JSON.stringify(config)); // JSON is YAML.
  // A file and not a pipe: what the daemon writes does not wait for this process.
  const log = openSync(join(folder, "log"), "a");
  const { child, exit, end } = start(
    // As an operator starts it: with the flags in its first line, and by the Node that runs this.
    join(root, "bin/handoffd"),
    ["run", "-c", join(folder, "handoffd.yaml")],
    {
      stdio: ["ignore", log, log],
      env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` },
    },
  );
  closeSync(log);
  const spawned = onSpawned?.(port);

  const api = async (method, path, body) => {
    const content = body === undefined ? undefined : JSON.stringify(body);
    const asked = request({
      socketPath: socket,
      method,
      path,
      agent: false,
      ...(content === undefined ? {} : { headers: { "content-type": "application/json" } }),
      signal: AbortSignal.timeout(READY_MS),
    });
    asked.end(content);
    const [answer] = await once(asked, "response");
    const answeredAt = wallMs();
    const said = await text(answer);
    const isJson = /json/u.test(answer.headers["content-type"] ?? "");
    return { status: answer.statusCode, answeredAt, text: said, json: isJson ? JSON.parse(said) : null };
  };
  const daemon = {
    folder,
    socket,
    port,
    pid: child.pid,
    api,
    /** All that it has written so far. */
    log: () => readFileSync(join(folder, "log"), "utf8"),
    isRunning: () => child.exitCode === null && child.signalCode === null,
    /** Lines of bench/c/application.c, by generation: when main() began and when it listened, in milliseconds. */
    recorded() {
      const lines = readFileSync(record, "utf8").trim().split("\n");
      return new Map(
        lines.map((line) => {
          const [generation, began, listening] = line.split(" ");
          return [Number(generation), { began: Number(began) / 1e6, listening: Number(listening) / 1e6 }];
        }),
      );
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await spawned;
  const beganAt = performance.now();
  const deadline = beganAt + START_MS;
  for (;;) {
    const ready = await api("GET", "/readyz").catch(() => null); // Its socket is not there yet.
    if (ready?.status === 200) return Object.assign(daemon, { startMs: performance.now() - beganAt });
    if (child.exitCode !== null || performance.now() > deadline) {
      const said = readFileSync(join(folder, "log"), "utf8");
      await daemon[Symbol.asyncDispose]();
      throw new Error(`the daemon does not become ready:\n${said}`);
    }
    await Promise.race([delay(20), exit]);
  }
}
