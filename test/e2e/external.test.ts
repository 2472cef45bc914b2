/** Instances that someone else starts: scripts in place of a service manager, and people who have no business there. */
import { chmodSync, existsSync, readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { expect, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { type Load, lost, startLoad } from "../support/load.ts";
import { ask } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf, root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { alive, environment, eventually, killOne, start, type Process } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";

const LAUNCHER = `${root}/build/Release/handoff-exec`;
const SOCKET = "{dir}/run/api.sock";
const APPLICATION = commandOf("polite.mjs");
const OWN = process.getuid?.() ?? 0;
const NOBODY = 65534;

/** As service managers do it: it is started beside the command, which returns. What is noted is what was asked for. */
const START = [
  "/bin/sh",
  "-c",
  'echo "start $2" >> "$1.asked"; "$0" --socket "$1" --place "$2" -- "$3" "$4" </dev/null & echo $! > "$1.$2.pid"',
  LAUNCHER,
  SOCKET,
  "{generation}-{instance}",
  ...APPLICATION,
];
const STOP = [
  "/bin/sh",
  "-c",
  'echo "stop $1" >> "$0.asked"; kill -TERM "$(cat "$0.$1.pid")" || true',
  SOCKET,
  "{generation}-{instance}",
];

function external(more: Config = {}, service: Config = {}): Config {
  return oneService({
    command: undefined,
    instances: 2,
    external: { allow: { uid: OWN }, start: START, stop: STOP, ...more },
    restart: { backoff: "50ms..100ms" },
    ...service,
  });
}

async function pidsOf(daemon: Daemon): Promise<number[]> {
  const { generations, current } = await daemon.service();
  return generations.find(({ number }) => number === current)?.instances.map(({ pid }) => pid) ?? [];
}

/** What the scripts were asked for, in an order that does not depend on which instance was quicker. */
function asked(daemon: Daemon): string[] {
  return readFileSync(`${daemon.folder}/run/api.sock.asked`, "utf8").trim().split("\n").sort();
}

function said(daemon: Daemon, type: string): string[] {
  return daemon.log().flatMap((line) => (line["msg"] === type ? [String(line["detail"])] : []));
}

/** The lines of its handoff socket in /proc/net/unix, which bear its inode: no two sockets have had the same. */
function listening(daemon: Daemon): string[] {
  const lines = readFileSync("/proc/net/unix", "utf8").split("\n");
  return lines
    .filter((line) => line.endsWith(` ${daemon.folder}/run/api.sock`))
    .map((line) => line.split(" ").slice(-2).join(" "));
}

/** New connections and kept ones, at a pace that leaves the host room. */
async function clients(daemon: Daemon): Promise<AsyncDisposable & { losses(): Promise<unknown[]> }> {
  const { target } = addressOf(await daemon.status(), "web");
  const fresh = startLoad({ target, mode: "new", connections: 8, rate: 200 });
  const kept = startLoad({ target, mode: "keepalive", connections: 8, thinkMs: [0, 20], rate: 200 });
  const all: Load[] = [fresh, kept];
  await Promise.all(all.map(({ started }) => started));
  return {
    losses: async () => Promise.all(all.map(async (load) => lost(await load.stop()))),
    [Symbol.asyncDispose]: async () => {
      for (const load of all) await load[Symbol.asyncDispose]();
    },
  };
}

interface Launched extends AsyncDisposable {
  readonly process: Process;
  readonly said: Promise<string>;
}

/** handoff-exec by hand, as `uid`. */
function launch(
  daemon: Daemon,
  args: readonly string[],
  uid = OWN,
  command: readonly string[] = APPLICATION,
): Launched {
  const line = [LAUNCHER, "--socket", `${daemon.folder}/run/api.sock`, ...args, "--", ...command];
  const become = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  const [file = "", ...rest] = uid === OWN ? line : [...become, ...line];
  const process = start(file, rest, { stdio: ["ignore", "ignore", "pipe"], env: environment() });
  return {
    process,
    said: text(process.child.stderr as Readable),
    [Symbol.asyncDispose]: async () => {
      process.kill("SIGKILL");
      await process.exit;
    },
  };
}

test(
  "five deploys, a rollback within the bake and one after it lose no request",
  { timeout: 60_000 },
  async () => {
    await using daemon = await startDaemon({ config: external() });
    await using load = await clients(daemon);
    for (const strategy of ["blue-green", "blue-green", "blue-green", "rolling", "recreate"]) {
      expect(await daemon.deploy(strategy, { body: { strategy } })).toMatchObject({
        phase: "succeeded",
        reason: null,
      });
    }
    const before = await pidsOf(daemon);
    const options = { body: { bake: "100s" }, until: ["baking"] };
    const { id } = await daemon.deploy("v6", options);
    const wanted = asked(daemon);
    expect((await daemon.cli("rollback", "api")).code).toBe(0);
    expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "rolled-back" });
    // The way back is there: nobody is asked to start anything.
    await eventually("that the candidate is ended", () => asked(daemon).length >= wanted.length + 2);
    expect(asked(daemon)).toEqual([...wanted, "stop 7-1", "stop 7-2"].sort());
    expect(await pidsOf(daemon)).toEqual(before);

    expect(await daemon.deploy("v7")).toMatchObject({ phase: "succeeded" });
    expect((await daemon.cli("rollback", "api")).code).toBe(0);
    expect(await daemon.service()).toMatchObject({ current: 9, state: "running" });
    expect(await load.losses()).toEqual([NOTHING, NOTHING]);
    expect(said(daemon, "generation.killed")).toEqual([]);
  },
);

test("one that crashes is asked for again on its slot, and what was queued is answered", async () => {
  await using daemon = await startDaemon({ config: external({}, { instances: 1 }) });
  const { where } = addressOf(await daemon.status(), "web");
  const [pid = 0] = await pidsOf(daemon);
  process.kill(pid, "SIGSTOP");
  const waiting = Array.from({ length: 50 }, () => ask(where));
  await daemon.until("50 connections in the queue", ({ listeners }) =>
    listeners[0]?.slots.some(({ queue }) => (queue?.length ?? 0) === 50),
  );
  killOne(pid);
  const answers = await Promise.all(waiting);
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect(asked(daemon)).toEqual(["start 1-1", "start 1-1"]);
  expect(said(daemon, "instance.exited")).toEqual([
    `instance 1 of api/1 (pid ${pid}) has exited (with which status knows whoever started it) unexpectedly`,
  ]);
  await daemon.untilReady();
  expect(await daemon.service()).toMatchObject({
    state: "running",
    generations: [{ instances: [{ restarts: 1, state: "serving" }] }],
  });
});

test(
  "they go on through the daemon's death and an upgrade, and the next deploy works",
  { timeout: 60_000 },
  async () => {
    await using daemon = await startDaemon({ config: external() });
    await using load = await clients(daemon);
    const pids = await pidsOf(daemon);
    daemon.kill("SIGKILL");
    await daemon.restart();
    expect(await pidsOf(daemon)).toEqual(pids);
    await daemon.upgrade();
    expect(await pidsOf(daemon)).toEqual(pids);
    expect(asked(daemon)).toEqual(["start 1-1", "start 1-2"]);
    expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded", reason: null });
    await eventually("the end of the first ones", () => !pids.some(alive));
    expect(await load.losses()).toEqual([NOTHING, NOTHING]);
  },
);

test(
  "whoever comes while the daemon is replaced, or dead, gets the place that is awaited",
  { timeout: 60_000 },
  async () => {
    await using daemon = await startDaemon({
      config: external({ start: undefined, stop: undefined }, { ready: { by: "listening", timeout: "50s" } }),
      awaits: "alive",
    });
    await eventually("that both are awaited", () => said(daemon, "instance.awaited").length === 2);
    const before = listening(daemon);
    await daemon.upgrade();
    expect(listening(daemon)).toEqual(before);
    await using first = launch(daemon, ["--place", "1-1"]);
    await daemon.until("the first instance", (status) =>
      status.services[0]?.generations[0]?.instances.some(({ pid }) => pid === first.process.pid),
    );
    daemon.kill("SIGKILL");
    await daemon.restart("alive");
    // Nobody has kept the socket: it is opened again.
    await using second = launch(daemon, []);
    await daemon.untilReady();
    expect(await pidsOf(daemon)).toEqual([first.process.pid, second.process.pid]);
    expect(await daemon.untilDeploy("api-1", { timeoutMs: 20_000 })).toMatchObject({ phase: "succeeded" });
  },
);

test("without a command the deploy says what it waits for, and fails when nobody comes in time", async () => {
  const config = { start: undefined, stop: undefined };
  const service = { instances: 1, ready: { by: "listening", timeout: "2s" } };
  await using daemon = await startDaemon({ config: external(config, service), awaits: "alive" });
  await using first = launch(daemon, []);
  await daemon.untilReady();
  const deploy = await daemon.deploy("v1");
  const how = `handoff-exec --socket ${daemon.folder}/run/api.sock --place 2-1 -- COMMAND`;
  expect(said(daemon, "instance.awaited").at(-1)).toContain(how);
  expect(deploy).toMatchObject({ phase: "failed" });
  expect(deploy.reason?.message).toContain(
    `no process came for instance 1 of api/2 within 2000 ms: nobody has started it`,
  );
  expect(deploy.reason?.message).toContain(how);
  expect(await daemon.service()).toMatchObject({ state: "running", current: 1 });
  // Too late: the generation is gone.
  await using late = launch(daemon, ["--place", "2-1"]);
  expect(await late.said).toContain("api does not await instance 2-1; deploy first");
  expect((await late.process.exit).code).toBe(127);

  // One that crashes and that nobody is asked for: the service waits for who comes, for as long as it takes.
  first.process.kill("SIGKILL");
  await eventually("a degraded service", async () => (await daemon.service()).state === "degraded");
  await using again = launch(daemon, ["--place", "1-1"]);
  await daemon.untilReady();
  expect(await pidsOf(daemon)).toEqual([again.process.pid]);
});

test("who came before anybody was started is answered by the first that comes", async () => {
  const config = { start: undefined, stop: undefined };
  const service = { instances: 1, ready: { by: "listening", timeout: "20s" } };
  await using daemon = await startDaemon({ config: external(config, service), awaits: "alive" });
  const { where } = addressOf(await daemon.status(), "web");
  const waiting = Array.from({ length: 5 }, () => ask(where));
  await daemon.until("five in the queue", ({ listeners }) => listeners[0]?.slots[0]?.queue?.length === 5);
  await using _first = launch(daemon, []);
  await daemon.untilReady();
  expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
});

test("a command that fails, or never returns, fails the deploy in its own words", async () => {
  const how = '[ "$HANDOFF_VERSION" != bad ] || exit 7; [ "$HANDOFF_VERSION" != slow ] || exec sleep 100;';
  const start = ["/bin/sh", "-c", `${how} ${START[2] ?? ""}`, ...START.slice(3)];
  await using daemon = await startDaemon({
    config: external({ start }, { ready: { by: "listening", timeout: "2s" } }),
  });
  const bad = await daemon.deploy("bad");
  expect(bad).toMatchObject({ phase: "failed" });
  expect(bad.reason?.message).toContain("external.start failed with 7");
  const slow = await daemon.deploy("slow");
  expect(slow.reason?.message).toMatch(/no process came|had not ended after 2000 ms/u);
  // Whoever was asked may be about to start it still; a failed candidate is ended beside what comes after it.
  await eventually("that both candidates are ended", () => asked(daemon).length >= 6);
  expect(asked(daemon)).toEqual(["start 1-1", "start 1-2", "stop 2-1", "stop 2-2", "stop 3-1", "stop 3-2"]);
  expect(await daemon.service()).toMatchObject({ state: "running", current: 1 });
});

test("another user starts them, and they are told by the signal", async () => {
  const config = { allow: { uid: NOBODY }, start: undefined, stop: undefined };
  await using daemon = await startDaemon({
    config: external(config, { instances: 1, ready: { by: "notify", timeout: "20s" } }),
    awaits: "alive",
  });
  for (const path of [daemon.folder, `${daemon.folder}/run`]) chmodSync(path, 0o711);
  await using own = launch(daemon, [], NOBODY, commandOf("notify.py"));
  await daemon.untilReady();
  expect(await pidsOf(daemon)).toEqual([own.process.pid]);
  // A second one is awaited, and then it is not.
  expect((await daemon.cli("scale", "api", "2")).code).toBe(0);
  await eventually("that it is awaited", () => said(daemon, "instance.awaited").length === 2);
  expect((await daemon.cli("scale", "api", "1")).code).toBe(0);
  await daemon.until("one instance", ({ services }) => services[0]?.generations[0]?.instances.length === 1);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(await own.process.exit).toEqual({ code: 0, signal: null });
  expect(existsSync(`${daemon.folder}/run/api.sock`)).toBe(false);
});

test("a stranger gets nothing, however often, and the log stays small", { timeout: 60_000 }, async () => {
  // Of two users the file's mode cannot tell: anyone may knock.
  const allow = { uid: 1, user: "root" };
  const service = { instances: 1, ready: { by: "listening", timeout: "50s" } };
  await using daemon = await startDaemon({
    config: external({ allow, start: undefined, stop: undefined }, service),
    awaits: "alive",
  });
  for (const path of [daemon.folder, `${daemon.folder}/run`]) chmodSync(path, 0o711);
  await eventually("that one is awaited", () => said(daemon, "instance.awaited").length === 1);
  const before = daemon.descriptors;
  const strangers = Array.from({ length: 20 }, () => launch(daemon, [], NOBODY));
  for (const stranger of strangers) {
    expect(await stranger.said).toContain("it does not allow this user");
    expect((await stranger.process.exit).code).toBe(127);
  }
  expect(said(daemon, "external.refused")).toEqual([
    expect.stringMatching(/^pid \d+ \(uid 65534, gid 65534\) connected .* it got nothing$/u),
  ]);
  expect(daemon.descriptors).toBeLessThanOrEqual(before);
  // Who is meant gets what the strangers wanted.
  await using own = launch(daemon, []);
  await daemon.untilReady();
  expect(await pidsOf(daemon)).toEqual([own.process.pid]);
});
