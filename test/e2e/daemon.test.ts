/** The daemon as a process: how it starts, what it refuses, and how it ends. */
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { socketsOf } from "../../daemon/proc.ts";
import { startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf, root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { alive, environment, eventually, start, waitForExit } from "../support/processes.ts";

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };

/** `handoffd` with these arguments, to its end. */
async function handoffd(...args: string[]): Promise<{ code: number | null; stderr: string }> {
  const daemon = start(process.execPath, [`${root}/bin/handoffd`, ...args], {
    env: environment(),
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [exit, stderr] = await Promise.all([
    daemon.exit,
    text(daemon.child.stderr as unknown as NodeJS.ReadableStream),
  ]);
  return { code: exit.code, stderr };
}

test("SIGTERM drains and ends everything: what was asked is answered, and no process and no socket is left", async () => {
  await using daemon = await startDaemon({ config: oneService({ instances: 2 }) });
  const { where } = addressOf(await daemon.status(), "web");
  const pids = (await daemon.service()).generations.flatMap(({ instances }) =>
    instances.map(({ pid }) => pid),
  );
  const asked = Array.from({ length: 20 }, () => ask(where, { path: "/slow?ms=700" }));
  await daemon.until(
    "the requests to be under way",
    ({ services }) => services[0]?.generations[0]?.connections === 20,
  );

  const { code } = await daemon.stop();
  const answers = await Promise.all(asked);

  expect(code).toBe(0);
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  await Promise.all(pids.map((pid) => waitForExit(pid)));
  await eventually("the keeper's end", () => daemon.processes().length === 0);
  await expect(ask(where)).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

test("a second SIGTERM ends a drain that takes too long", async () => {
  await using daemon = await startDaemon({
    config: oneService({ command: commandOf("ignores-sigterm.mjs"), drain: { timeout: "100s" } }),
  });
  daemon.kill("SIGTERM");
  await eventually("the drain to begin", () => daemon.log().some(({ msg }) => msg === "draining and ending"));
  const { code } = await daemon.stop();
  expect(code).toBe(0);
  await eventually("the end of every process", () => daemon.processes().length === 0);
});

test("after SIGTERM the last good version is started again", async () => {
  await using daemon = await startDaemon({ config: oneService() });
  await daemon.deploy("v7");
  await daemon.stop();
  await daemon.restart();
  const { generations } = await daemon.service();
  expect(generations).toMatchObject([{ number: 3, version: "v7", state: "serving" }]);
});

test("a daemon beside a living one is refused, and the living one goes on", async () => {
  await using daemon = await startDaemon({ config: oneService() });
  const { code, stderr } = await handoffd("run", "-c", daemon.configFile);
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringContaining("another handoffd runs") as string,
  });
  const { where } = addressOf(await daemon.status(), "web");
  expect(await ask(where)).toMatchObject({ status: 200 });
});

test("an address that another process holds is refused with its name, exit 2, and nothing is left", async () => {
  await using daemon = await startDaemon({ config: oneService() });
  const { port } = addressOf(await daemon.status(), "web");
  const { code, stderr } = await handoffd(
    ...["run", "--listen", `web=tcp:127.0.0.1:${port}`, "--runtime", `${daemon.folder}/other`],
    ...["--state", `${daemon.folder}/other-state`, "--", "node", "server.js"],
  );
  expect(code).toBe(2);
  expect(stderr).toMatch(
    new RegExp(`cannot listen on 127.0.0.1:${port}: it is already in use by pid \\d+`, "u"),
  );
});

test("the keeper's death is noticed: another one holds everything before anything can be lost", async () => {
  await using daemon = await startDaemon({ config: oneService({ drain: { timeout: "5s" } }) });
  const { where, target } = addressOf(await daemon.status(), "web");
  await daemon.deploy("v1");
  await using load = startLoad({ target, mode: "new", connections: 4, rate: 200 });
  await load.started;
  const keeper = keeperOf(daemon.processes());
  process.kill(keeper, "SIGKILL");
  const next = await eventually("another keeper", () => {
    const found = keeperOf(daemon.processes());
    return found !== keeper && alive(found) && held(found) >= 2 ? found : undefined;
  });
  expect(next).not.toBe(keeper);

  daemon.kill("SIGKILL");
  await daemon.exit;
  await daemon.restart();
  expect(await ask(where)).toMatchObject({ status: 200, version: "v1" });
  expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded", reason: null });
  expect(lost(await load.stop())).toEqual(NOTHING);
});

function keeperOf(pids: readonly number[]): number {
  return pids.find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "handoff-keeper") ?? 0;
}

/** How many sockets it holds besides its own two: the one that it listens on and the daemon's connection. */
function held(pid: number): number {
  return socketsOf(pid).size - 2;
}

test("a unix socket is deployed under load without a loss, and its path is gone after the end", async () => {
  await using daemon = await startDaemon({ config: oneService({}, "unix:{dir}/app.sock") });
  const status = await daemon.status();
  const { target } = addressOf(status, "web");
  expect(status.listeners[0]).toMatchObject({ mode: "renamed", protocol: "unix" });
  await using load = startLoad({ target, mode: "new", connections: 8, rate: 400 });
  await load.started;
  for (let n = 1; n <= 10; n++) {
    expect(await daemon.deploy(`v${n}`, { until: ["draining"] })).toMatchObject({ reason: null });
  }
  await load.sawGeneration(11);
  expect(lost(await load.stop())).toEqual(NOTHING);
  await daemon.stop();
  expect(() => statSync(`${daemon.folder}/app.sock`)).toThrow(/ENOENT/u);
});

test("a stop that cannot move a unix socket's path aside drains all the same", async () => {
  await using daemon = await startDaemon({ config: oneService({}, "unix:{dir}/app.sock") });
  await daemon.deploy("v1");
  rmSync(`${daemon.folder}/app.sock`);
  mkdirSync(`${daemon.folder}/app.sock/blocked`, { recursive: true });
  const { code } = await daemon.stop();
  expect(code).toBe(0);
  expect(daemon.log()).toContainEqual(expect.objectContaining({ msg: "instance.exited", generation: 2 }));
  await eventually("the end of every process", () => daemon.processes().length === 0);
});

test("an abstract socket serves, and a deploy that would need a gate is refused with the reason", async () => {
  const name = `handoffd-test-${process.pid}`;
  await using daemon = await startDaemon({ config: oneService({}, `unix:@${name}`) });
  const { target } = addressOf(await daemon.status(), "web");
  const report = await startLoad({ target, mode: "new", requests: 100 }).done;
  expect({ ...lost(report), ok: report.ok }).toEqual({ ...NOTHING, ok: 100 });
  const { status, json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" });
  expect({ status, json }).toMatchObject({ status: 400, json: { code: "STRATEGY_NEEDS_STEERING" } });
});

test("the application runs as its user, with its limits, its directory and no descriptor but its own", async () => {
  await using daemon = await startDaemon({
    config: oneService({
      user: "nobody",
      umask: "0027",
      nice: 5,
      limits: { nofile: 256 },
      no_new_privileges: true,
      directory: "/",
      output: "{dir}/out",
    }),
  });
  const [instance] = (await daemon.service()).generations[0]?.instances ?? [];
  const status = readFileSync(`/proc/${instance?.pid ?? 0}/status`, "utf8");
  expect(status).toMatch(/^Uid:\s+65534\s+65534/mu);
  expect(status).toMatch(/^Umask:\s+0027/mu);
  expect(status).toMatch(/^NoNewPrivs:\s+1/mu);
  expect(readFileSync(`/proc/${instance?.pid ?? 0}/limits`, "utf8")).toMatch(/^Max open files\s+256/mu);
});

test.each(["tcp:[::1]:0", "tcp:[::]:0"])("%s is deployed like any other, pins included", async (address) => {
  await using daemon = await startDaemon({ config: oneService({}, address) });
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "new", connections: 4, rate: 200 });
  await load.started;
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded", reason: null });
  await load.sawGeneration(2);
  expect(lost(await load.stop())).toEqual(NOTHING);
});
