/** The daemon and its keeper die together: the sockets are where the instances have them. */
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask, countConnections } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { addressOf } from "../support/ports.ts";
import { alive, eventually, killOne, waitForExit } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";

function configuration(): Config {
  const { listeners, services } = oneService({ listeners: ["web", "ipc"], drain: { timeout: "60s" } });
  return { services, listeners: { ...(listeners as Config), ipc: { address: "unix:{dir}/app.sock" } } };
}

function keeperOf(daemon: Daemon): number {
  const isKeeper = (pid: number) => readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("handoff-keeper");
  return daemon.processes().find(isKeeper) ?? 0;
}

/** The daemon first: it would start another keeper. */
async function killBoth(daemon: Daemon): Promise<void> {
  const keeper = keeperOf(daemon);
  daemon.kill("SIGKILL");
  await daemon.exit;
  killOne(keeper);
  await waitForExit(keeper);
}

async function pidsOf(daemon: Daemon): Promise<Record<number, number[]>> {
  const { generations } = await daemon.service();
  return Object.fromEntries(
    generations.map(({ number, instances }) => [number, instances.map(({ pid }) => pid)]),
  );
}

async function source(daemon: Daemon): Promise<string | undefined> {
  const { json } = await daemon.api("GET", "/metrics");
  return /^handoffd_recoveries_total\{source="(\w+)"\} 1$/mu.exec(String(json))?.[1];
}

test("the daemon and its keeper are killed under load, and nobody notices", { timeout: 60_000 }, async () => {
  await using daemon = await startDaemon({ config: configuration() });
  const web = addressOf(await daemon.status(), "web");
  const ipc = addressOf(await daemon.status(), "ipc");
  const common = { connections: 4, rate: 100, lateMs: 20_000, timeoutMs: 30_000 };
  await using fresh = startLoad({ ...common, target: web.target, mode: "new" });
  await using kept = startLoad({ ...common, target: web.target, mode: "keepalive", thinkMs: [0, 20] });
  await using local = startLoad({ ...common, target: ipc.target, mode: "new" });
  await Promise.all([fresh.started, kept.started, local.started]);
  const before = await pidsOf(daemon);
  await killBoth(daemon);
  expect(await countConnections(50, web.where)).toEqual({ 1: 50 });

  await daemon.restart();
  expect(await pidsOf(daemon)).toEqual(before);
  expect(await source(daemon)).toBe("pidfd");
  expect(keeperOf(daemon)).not.toBe(0);
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded", reason: null });
  // What was rescued is held outside again.
  await daemon.stop("SIGKILL");
  await daemon.restart();
  expect(await source(daemon)).toBe("keeper");
  expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded", reason: null });
  const reports = await Promise.all([fresh.stop(), kept.stop(), local.stop()]);
  expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING, NOTHING]);
});

/** A request that the application answers for as long as the test wants. */
async function holding(where: { readonly host: string; readonly port: number }): Promise<() => void> {
  const request = get({ ...where, path: "/stream?ms=100000", agent: false });
  onTestFinished(() => void request.destroy());
  await once(request, "response");
  request.on("error", () => undefined);
  return () => void request.destroy();
}

test(
  "with slot 0 idle, a baking generation in 1 and the previous one in 2, each is found where the kernel has put it",
  { timeout: 60_000 },
  async () => {
    await using daemon = await startDaemon({ config: oneService({ drain: { timeout: "60s" } }) });
    const { where } = addressOf(await daemon.status(), "web");
    if (!("port" in where)) throw new Error("not TCP");
    const ofSlot = async () =>
      (await daemon.status()).listeners[0]?.slots.map(({ generation }) => generation);
    const first = await holding(where);
    await daemon.deploy("v2", { until: ["draining"] });
    const second = await holding(where);
    await daemon.deploy("v3", { until: ["draining"] });
    expect(await ofSlot()).toEqual(["api/2", "api/1", "api/3"]);
    first();
    await eventually("slot 1 to be free", async () => (await ofSlot())?.[1] === null);
    const { id } = await daemon.deploy("v4", { body: { bake: "60s" }, until: ["baking"] });
    second();
    await eventually("slot 0 to be idle", async () => (await ofSlot())?.[0] === null);
    expect(await ofSlot()).toEqual([null, "api/4", "api/3"]);
    const before = await pidsOf(daemon);

    await killBoth(daemon);
    await daemon.restart();
    expect(await pidsOf(daemon)).toEqual(before);
    expect(await countConnections(50, where)).toEqual({ 4: 50 });
    expect(await daemon.service()).toMatchObject({ current: 4, previous: 3 });
    expect((await daemon.api("POST", "/v1/services/api/rollback")).status).toBe(202);
    expect(await countConnections(50, where)).toEqual({ 3: 50 });
    expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "rolled-back" });
    expect(await daemon.deploy("v5")).toMatchObject({ phase: "succeeded", reason: null });
  },
);

interface State {
  readonly generations: {
    cookies: Record<string, string>;
    instances: { pid: number; startTime: string }[];
  }[];
}

const FORGERIES: Readonly<Record<string, (state: State) => void>> = {
  "another process has the pid by now": ({ generations: [generation] }) => {
    for (const instance of generation?.instances ?? []) instance.startTime = "1";
  },
  "the process has another socket at its descriptor": ({ generations: [generation] }) => {
    if (generation !== undefined) generation.cookies = { web: "4711" };
  },
};

test.each(Object.entries(FORGERIES))(
  "where %s, nothing is taken and the start is refused",
  async (_what, forge) => {
    await using daemon = await startDaemon({ config: oneService() });
    const { where } = addressOf(await daemon.status(), "web");
    const port = "port" in where ? where.port : 0;
    const [pid = 0] = (await pidsOf(daemon))[1] ?? [];
    await killBoth(daemon);
    // As an operator has it; port 0 would be another one at the next start.
    daemon.configure(oneService({}, `tcp:127.0.0.1:${port}`));
    const file = `${daemon.folder}/state/services/api.json`;
    const written = readFileSync(file, "utf8");
    const state = JSON.parse(written) as State;
    forge(state);
    writeFileSync(file, JSON.stringify(state));
    await expect(daemon.restart()).rejects.toThrow("the daemon ended with 2");
    const refusal = daemon.log().findLast(({ msg }) => msg === "the daemon cannot run");
    expect(refusal).toMatchObject({
      code: "LISTENER_ADDRESS_IN_USE",
      detail: expect.stringContaining(`pid ${pid}`) as string,
    });
    expect(alive(pid)).toBe(true);
    expect(await ask(where)).toMatchObject({ status: 200, pid });

    writeFileSync(file, written);
    await daemon.restart();
    expect(await source(daemon)).toBe("pidfd");
    expect(await ask(where)).toMatchObject({ status: 200, pid });
  },
);

test.each([true, false])(
  "a hold (idles: %s) outlives the daemon and its keeper; that its queue does not is said",
  { timeout: 60_000 },
  async (idles) => {
    await using daemon = await startDaemon({ config: oneService() });
    expect((await daemon.api("POST", "/v1/services/api/hold", { idle: idles })).status).toBe(200);
    await daemon.until(
      "a hold, and the end of what does not idle",
      ({ services: [service] }) =>
        service?.state === "held" &&
        service.generations.some(({ weight }) => weight === 1) &&
        service.generations.length === (idles ? 2 : 1),
    );
    const before = await daemon.service();
    await killBoth(daemon);
    await daemon.restart("alive");
    const now = await daemon.until(
      "a queue",
      ({ services: [service] }) =>
        service?.generations.some(({ weight }) => weight === 1) === true && service,
    );
    expect(now).toMatchObject({ state: "held", held: before.held });
    const lost = daemon.log().filter(({ msg }) => msg === "service.lost");
    expect(lost).toMatchObject([{ service: "api", detail: expect.stringContaining("were reset") as string }]);
    const { where } = addressOf(await daemon.status(), "web");
    // Whoever comes now waits, and is answered by the generation that resumes.
    const answer = ask(where, { path: "/", timeoutMs: 30_000 });
    await daemon.until("one that waits", ({ services }) => services[0]?.held?.waiting === 1);
    expect((await daemon.api("POST", "/v1/services/api/resume")).status).toBe(202);
    expect(await answer).toMatchObject({ status: 200 });
    await daemon.untilReady();
    // It serves before it has been verified once more: those who waited met it at once.
    await daemon.until("the end of the resume", ({ services }) => services[0]?.deploy === null);
    expect(await daemon.service()).toMatchObject({ state: "running", current: 2 });
    expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded", reason: null });
  },
);

test("when the instances have died as well, the listener is opened again, and that is said", async () => {
  await using daemon = await startDaemon({ config: oneService() });
  const [pid = 0] = (await pidsOf(daemon))[1] ?? [];
  await killBoth(daemon);
  killOne(pid);
  await waitForExit(pid);
  await daemon.restart();
  expect(await source(daemon)).toBeUndefined();
  expect(daemon.log().filter(({ msg }) => msg === "service.lost")).toMatchObject([
    { service: "api", detail: expect.stringContaining("its listeners are opened again") as string },
  ]);
  expect(await ask(addressOf(await daemon.status(), "web").where)).toMatchObject({ status: 200 });
});
