/** What ends, or stops to work, besides the daemon or together with it, and how everything goes on. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask, codeOf, countConnections } from "../support/net.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually, killAll, killOne, waitForExit } from "../support/processes.ts";
import { NOTHING, numberIn } from "../support/stage.ts";
import type { Deploy } from "../support/status.ts";

const POLITE = commandOf("polite.mjs");

function configuration(service: Config, listeners: Config = {}): Config {
  return {
    listeners: { web: { address: "tcp:127.0.0.1:0" }, ...listeners },
    services: {
      api: {
        command: POLITE,
        version: "v0",
        listeners: ["web"],
        deploy: { bake: "50ms" },
        drain: { settle: "200ms", timeout: "5s" },
        restart: { backoff: "50ms..100ms" },
        ...service,
      },
    },
  };
}

/** Not the daemon's: it has to be there before the daemon is. */
function scratchFolder(): string {
  const folder = mkdtempSync(`${tmpdir()}/recovery-`);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function environmentFile(): string {
  const file = `${scratchFolder()}/environment`;
  writeFileSync(file, "");
  return file;
}

/** What the daemon has logged with this message: the type of an event, mostly. */
function said(daemon: Daemon, message: string): Readonly<Record<string, unknown>>[] {
  return daemon.log().filter(({ msg }) => msg === message);
}

/** The daemon first: it must not see the others' end. So ends a container. */
async function killEverything(daemon: Daemon): Promise<void> {
  daemon.kill("SIGKILL");
  await daemon.exit;
  await killAll(() => daemon.processes());
}

async function begin(daemon: Daemon, version: string): Promise<string> {
  const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version });
  return (json as Deploy).id;
}

/** The source address that leads to the slot that nobody has. */
async function idlePin(daemon: Daemon): Promise<string> {
  const { slots } = (await daemon.status()).listeners[0] ?? { slots: [] };
  return `127.77.0.${slots.findIndex(({ generation }) => generation === null) + 1}`;
}

/** The next deploy works, and no client loses anything by it. */
async function deploysWell(daemon: Daemon, version: string): Promise<void> {
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "new", connections: 4, rate: 200 });
  await load.started;
  expect(await daemon.deploy(version)).toMatchObject({ phase: "succeeded", reason: null });
  await load.sawVersion(version);
  expect(lost(await load.stop())).toEqual(NOTHING);
}

test("when everything ends while a deploy bakes, the last good release is started and the deploy has failed", async () => {
  await using daemon = await startDaemon({ config: configuration({}) });
  await daemon.deploy("good");
  const { id } = await daemon.deploy("new", { body: { bake: "100s" }, until: ["baking"] });
  await killEverything(daemon);
  await daemon.restart();
  const { where } = addressOf(await daemon.status(), "web");
  expect(await ask(where)).toMatchObject({ status: 200, version: "good" });
  const deploy = await daemon.untilDeploy(id);
  expect(deploy).toMatchObject({ phase: "failed", reason: { code: "DEPLOY_INTERRUPTED" } });
  await deploysWell(daemon, "next");
});

test("when everything ends while the old generation drains, the new release is started and the deploy has succeeded", async () => {
  await using daemon = await startDaemon({ config: configuration({}) });
  const { where } = addressOf(await daemon.status(), "web");
  const held = ask(where, { path: "/slow?ms=20000", timeoutMs: 20_000 }).catch(codeOf);
  await daemon.until("the request", ({ services }) => services[0]?.generations[0]?.connections === 1);
  const { id } = await daemon.deploy("new", { until: ["draining"] });
  await killEverything(daemon);
  expect(await held).toBe("EOF");
  await daemon.restart();
  expect(await ask(addressOf(await daemon.status(), "web").where)).toMatchObject({ version: "new" });
  expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "succeeded" });
  await deploysWell(daemon, "next");
});

test("an instance that crashes while its environment_file is missing comes back with the file, and answers who waited", async () => {
  const file = environmentFile();
  await using daemon = await startDaemon({ config: configuration({ environment_file: file }) });
  const { where } = addressOf(await daemon.status(), "web");
  rmSync(file);
  killOne((await daemon.service()).generations[0]?.instances[0]?.pid ?? 0);
  await eventually("two vain attempts", () => {
    const failures = said(daemon, "generation.failure");
    return failures.filter(({ code }) => code === "ENVIRONMENT_FILE_UNREADABLE").length >= 2;
  });
  const asked = ask(where);
  writeFileSync(file, "");
  expect(await asked).toMatchObject({ status: 200, generation: 1 });
  await daemon.until("a serving instance", ({ services }) => services[0]?.state === "running");
});

test("an acceptor that cannot be started is tried three times, reported once, and ends nothing", async () => {
  const file = environmentFile();
  await using daemon = await startDaemon({ config: configuration({ environment_file: file }) });
  const { where } = addressOf(await daemon.status(), "web");
  await daemon.deploy("v1");
  const source = await idlePin(daemon);
  rmSync(file);
  const asked = [1, 2].map(() => ask(where, { source, timeoutMs: 20_000 }));
  const counts = () => [said(daemon, "acceptor.failed").length, said(daemon, "slot.stuck").length];
  await eventually("the report", () => counts()[1] === 1);
  expect(counts()).toEqual([3, 1]);
  // An answer that takes longer than the pause between two attempts.
  expect(await ask(where, { path: "/slow?ms=1500" })).toMatchObject({ status: 200, version: "v1" });
  expect(counts()).toEqual([3, 1]);
  writeFileSync(file, "");
  await deploysWell(daemon, "v2");
  expect((await Promise.all(asked)).map(({ status, version }) => [status, version])).toEqual([
    [200, "v2"],
    [200, "v2"],
  ]);
});

test("when one of two listeners cannot be shifted, both stay with the current generation until it can", async () => {
  const wait = "case $HANDOFF_VERSION in v1) until [ -e {dir}/go ]; do sleep 0.02; done;; esac";
  const verify = [{ command: ["/bin/sh", "-c", wait], timeout: "20s" }];
  await using daemon = await startDaemon({
    config: configuration({ listeners: ["web", "ipc"], verify }, { ipc: { address: "unix:{dir}/app.sock" } }),
  });
  const status = await daemon.status();
  const [web, ipc] = [addressOf(status, "web"), addressOf(status, "ipc")];
  const path = `${daemon.folder}/app.sock`;
  await using kept = startLoad({ target: ipc.target, mode: "idle", connections: 4 });
  await kept.settled;
  const id = await begin(daemon, "v1");
  await daemon.untilDeploy(id, { until: ["verifying"] });
  rmSync(path);
  mkdirSync(path);
  writeFileSync(`${path}/file`, "");
  writeFileSync(`${daemon.folder}/go`, "");
  await eventually("a vain shift", () => said(daemon, "a deploy cannot go on").length > 0);
  expect(await countConnections(100, web.where)).toEqual({ 1: 100 });
  const report = await kept.stop();
  expect({ lost: lost(report), generations: report.generations }).toEqual({
    lost: NOTHING,
    generations: { 1: 8 },
  });
  rmSync(path, { recursive: true });
  expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "succeeded", reason: null });
  expect(await countConnections(20, web.where)).toEqual({ 2: 20 });
  expect(await countConnections(20, ipc.where)).toEqual({ 2: 20 });
});

test("one of two instances that is killed under load becomes serving again, and is not killed for being late", async () => {
  await using daemon = await startDaemon({
    config: configuration({ instances: 2, ready: { by: "listening", timeout: "2s" } }),
  });
  const { target, where } = addressOf(await daemon.status(), "web");
  const instances = async () => (await daemon.service()).generations[0]?.instances ?? [];
  await using load = startLoad({ target, mode: "new", connections: 8, rate: 300, lateMs: 5_000 });
  await load.started;
  const [{ pid: killed } = { pid: 0 }] = await instances();
  const keeper = keeperOf(daemon);
  process.kill(keeper, "SIGSTOP"); // So that the start takes longer than a proof, to which the other instance answers.
  killOne(killed);
  await eventually("another start", async () => (await instances())[0]?.restarts === 1);
  await countConnections(50, where);
  process.kill(keeper, "SIGCONT");
  const serving = await eventually("two serving instances", async () => {
    const found = await instances();
    return found.every(({ state, pid }) => state === "serving" && pid !== killed) && found;
  });
  const report = await load.stop();
  expect({ ...lost(report), reset: 0 }).toEqual(NOTHING);
  expect(report.reset + report.eof).toBeLessThanOrEqual(8); // What the process had accepted died with it.
  // A load that ends by itself, after the instance's time to become ready.
  expect(lost(await startLoad({ target, mode: "new", connections: 4, rate: 200, seconds: 3 }).done)).toEqual(
    NOTHING,
  );
  expect(await instances()).toEqual(serving);
  expect(serving.map(({ restarts }) => restarts)).toEqual([1, 0]);
});

test("a keeper that does not answer is ended when it is needed: deploys work, and the port is free after the end", async () => {
  await using daemon = await startDaemon({ config: configuration({}) });
  const { where, target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "new", connections: 4, rate: 200 });
  await load.started;
  const keeper = keeperOf(daemon);
  process.kill(keeper, "SIGSTOP");
  await daemon.deploy("v1"); // It may fail: it is what finds out.
  await waitForExit(keeper);
  expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded", reason: null });
  expect(lost(await load.stop())).toEqual(NOTHING);
  expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  await eventually("the end of every process", () => daemon.processes().length === 0);
  await expect(ask(where)).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

function keeperOf(daemon: Daemon): number {
  const found = daemon
    .processes()
    .find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("handoff-keeper"));
  return found ?? 0;
}

/** A shell that writes its pid to a file and then stays, as a program that SIGTERM ends. */
const STAY = "echo $$ > {dir}/pid.new && mv {dir}/pid.new {dir}/pid && exec sleep 60";

test("a verification command ends with the daemon that runs it", async () => {
  const verify = [
    { command: ["/bin/sh", "-c", `case $HANDOFF_VERSION in v1) ${STAY};; esac`], timeout: "30s" },
  ];
  await using daemon = await startDaemon({ config: configuration({ verify }) });
  await begin(daemon, "v1");
  await endsWithDaemon(daemon);
});

test("a daemon that dies while a generation drains leaves nothing in its slot that would need an acceptor", async () => {
  const armed = `${scratchFolder()}/armed`;
  await using daemon = await startDaemon({
    config: configuration({ drain: { timeout: "30s" } }),
    environment: { HANDOFFD_FAULT_POINTS: armed },
  });
  const { target } = addressOf(await daemon.status(), "web");
  const [host, port] = target.split(":");
  // Somebody who is being answered until after the daemon has come back.
  const socket = connect(Number(port), host);
  onTestFinished(() => void socket.destroy());
  socket.write("GET /stream?ms=2000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  await once(socket, "data");
  socket.resume();
  writeFileSync(armed, "drain.signalled 1\n");
  const deploy = await begin(daemon, "v1");
  await daemon.exit;
  await daemon.restart();
  expect(await daemon.untilDeploy(deploy)).toMatchObject({ phase: "succeeded" });
  expect(said(daemon, "acceptor.started")).toEqual([]);
});

test("an instance that a scale has just told to end is not told again by the next daemon", async () => {
  const armed = `${scratchFolder()}/armed`;
  await using daemon = await startDaemon({
    config: configuration({ instances: 2, drain: { timeout: "30s" } }),
    environment: { HANDOFFD_FAULT_POINTS: armed },
  });
  const { target } = addressOf(await daemon.status(), "web");
  // Answers that take longer than the daemon is away, on both: a second SIGTERM ends the program within them.
  const words = { mode: "stream", path: "/stream?ms=4000", connections: 12, rate: 6 } as const;
  await using load = startLoad({ target, ...words, timeoutMs: 30_000, lateMs: 20_000, seconds: 60 });
  await load.settled;
  writeFileSync(armed, "leave.signalled 1\n");
  daemon.api("PUT", "/v1/services/api/scale", { instances: 1 }).catch(() => undefined);
  await daemon.exit;
  await daemon.restart();
  await daemon.until("one instance", ({ services: [api] }) => api?.generations[0]?.instances.length === 1);
  expect(lost(await load.stop())).toEqual(NOTHING);
});

test("an acceptor ends with the daemon that runs it, and what it did not accept is answered by another one", async () => {
  const script = `[ "$HANDOFF_INSTANCE" = acceptor ] && [ ! -e {dir}/pid ] && { ${STAY}; }; exec ${POLITE.join(" ")}`;
  await using daemon = await startDaemon({ config: configuration({ command: ["/bin/sh", "-c", script] }) });
  const { where } = addressOf(await daemon.status(), "web");
  await daemon.deploy("v1");
  const asked = ask(where, { source: await idlePin(daemon), timeoutMs: 20_000 });
  await endsWithDaemon(daemon);
  await daemon.restart();
  expect(await asked).toMatchObject({ status: 200, version: "v1" });
});

async function endsWithDaemon(daemon: Daemon): Promise<void> {
  const pid = await eventually("its pid", () => numberIn(`${daemon.folder}/pid`));
  daemon.kill("SIGKILL");
  await daemon.exit;
  await waitForExit(pid);
}
