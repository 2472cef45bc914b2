/** What an application keeps with the daemon (FDSTORE=1, sd_notify(3)), and who gets it when. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { ask } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { descriptorCount, eventually } from "../support/processes.ts";

/** Several starts and deploys each. */
const SLOW = { timeout: 120_000 };

type Kept = readonly (readonly [name: string, text: string])[];

function keeping(service: Config = {}, max = 3): Config {
  return oneService({
    command: commandOf("keeps-things.py"),
    fdstore: { max },
    restart: { backoff: "10ms..50ms" },
    drain: { settle: "1s", timeout: "10s" },
    ...service,
  });
}

class Asker {
  readonly #daemon: Daemon;

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  async #get(path: string, source?: string): Promise<{ json: unknown; generation: number | null }> {
    const where = addressOf(await this.#daemon.status(), "web");
    const answer = await ask(where, { path, ...(source !== undefined && { source }) });
    return { json: JSON.parse(answer.body), generation: answer.generation };
  }

  /** Returns when the daemon has answered the barrier behind it. */
  async does(path: string, source?: string): Promise<void> {
    expect(await this.#get(path, source)).toMatchObject({ json: true });
  }

  /** What the process that answers was given. */
  async given(): Promise<Kept> {
    return (await this.#get("/")).json as Kept;
  }
}

async function open(service?: Config, max?: number): Promise<{ daemon: Daemon; app: Asker }> {
  const daemon = await startDaemon({ config: keeping(service, max) });
  return { daemon, app: new Asker(daemon) };
}

async function codes(daemon: Daemon): Promise<readonly unknown[]> {
  return (
    await eventually("what was refused", () => {
      const refused = daemon.log().filter(({ msg }) => msg === "instance.not-stored");
      return refused.length > 0 && refused;
    })
  ).map(({ code }) => code);
}

test("the next generation gets what the current one has stored, by name, behind its listeners", async () => {
  await using daemon = await startDaemon({ config: keeping() });
  const app = new Asker(daemon);
  expect(await app.given()).toEqual([]);
  await app.does("/store?name=cache&text=one");
  await app.does("/store?text=two");
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  expect(await app.given()).toEqual([
    ["cache", "one"],
    ["stored", "two"],
  ]);
  await app.does("/remove?name=cache");
  await app.does("/store?name=job&text=three");
  expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded" });
  expect(await app.given()).toEqual([
    ["stored", "two"],
    ["job", "three"],
  ]);
});

test("a process that comes back gets what its generation has by then", async () => {
  await using daemon = await startDaemon({ config: keeping() });
  const app = new Asker(daemon);
  await app.does("/store?name=cache&text=one");
  await ask(addressOf(await daemon.status(), "web"), { path: "/end" }).catch(() => undefined);
  await daemon.until("the restart", ({ services }) =>
    services[0]?.generations[0]?.instances.some(
      ({ restarts, state }) => restarts === 1 && state === "serving",
    ),
  );
  expect(await app.given()).toEqual([["cache", "one"]]);
});

test(
  "what a candidate has stored or removed goes with it: a failed deploy and a rollback change nothing",
  SLOW,
  async () => {
    await using daemon = await startDaemon({ config: keeping({ environment: { STORES_AT_START: "1" } }) });
    const app = new Asker(daemon);
    expect(await daemon.deploy("bad1")).toMatchObject({ phase: "failed" });
    const baking = await daemon.deploy("v1", { body: { bake: "60s" }, until: ["baking"] });
    expect(baking.phase).toBe("baking");
    expect(await app.given()).toEqual([["from-the-start", "v0"]]);
    await app.does("/remove?name=from-the-start");
    expect((await daemon.api("POST", "/v1/services/api/rollback")).status).toBe(202);
    await daemon.untilDeploy(baking.id);
    expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded" });
    expect(await app.given()).toEqual([["from-the-start", "v0"]]);
  },
);

test.each(["recreate", "hold"])(
  "it outlives a generation that ends before the next one starts (%s)",
  async (how) => {
    await using daemon = await startDaemon({
      config: keeping(how === "recreate" ? { deploy: { strategy: "recreate", bake: "50ms" } } : {}),
    });
    const app = new Asker(daemon);
    await app.does("/store?name=cache&text=one");
    if (how === "recreate") expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
    else {
      expect((await daemon.api("POST", "/v1/services/api/hold")).status).toBe(200);
      await daemon.until("the end of what served", ({ services }) =>
        services[0]?.generations.every(({ instances }) => instances.length === 0),
      );
      daemon.kill("SIGKILL");
      await daemon.restart("alive");
      const { json } = await daemon.api("POST", "/v1/services/api/resume");
      expect(await daemon.untilDeploy((json as { id: string }).id)).toMatchObject({ phase: "succeeded" });
    }
    expect(await app.given()).toEqual([["cache", "one"]]);
  },
);

test("what was answered is kept: neither the daemon's death nor an upgrade loses it", SLOW, async () => {
  await using daemon = await startDaemon({ config: keeping() });
  const app = new Asker(daemon);
  await app.does("/store?name=cache&text=one");
  daemon.kill("SIGKILL");
  await daemon.restart();
  await app.does("/store?name=job&text=two");
  await daemon.upgrade();
  await daemon.until("its end", ({ services }) => services[0]?.generations.length === 1);
  const held = descriptorCount(keeperOf(daemon));
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  expect(await app.given()).toEqual([
    ["cache", "one"],
    ["job", "two"],
  ]);
  // The keeper that is killed is replaced by one that has everything, too.
  const before = keeperOf(daemon);
  process.kill(before, "SIGKILL");
  await eventually("another keeper", () => {
    const now = keeperOf(daemon);
    return now !== 0 && now !== before && descriptorCount(now) >= held;
  });
  daemon.kill("SIGKILL");
  await daemon.restart();
  expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded" });
  expect(await app.given()).toEqual([
    ["cache", "one"],
    ["job", "two"],
  ]);
});

test("what is being stored when an upgrade begins is kept before it is answered", SLOW, async () => {
  const folder = mkdtempSync(`${tmpdir()}/hd-store-`);
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const armed = `${folder}/armed`;
  const passed = (): string => readFileSync(`${armed}.reached`, "utf8");
  const environment = { HANDOFFD_FAULT_POINTS: armed };
  await using daemon = await startDaemon({ config: keeping(), environment });
  const app = new Asker(daemon);
  const keeper = keeperOf(daemon);
  process.kill(keeper, "SIGSTOP");
  const stored = app.does("/store?name=cache&text=one");
  await eventually("the request", () => passed().includes("keeper.put.store.before"));
  const upgraded = daemon.upgrade();
  // It goes no further while the keeper has not answered.
  const look = (): boolean => passed().includes("upgrade.paused");
  const goesOn = await eventually("an upgrade without it", look, 1000).catch(() => false);
  process.kill(keeper, "SIGCONT");
  await Promise.all([stored, upgraded]);
  expect(goesOn).toBe(false);
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  expect(await app.given()).toEqual([["cache", "one"]]);
});

test("what does not fit is refused with a code, and stored twice is stored once", async () => {
  const { daemon, app } = await open({}, 2);
  await using _daemon = daemon;
  await app.does("/store?name=cache&text=one&times=3");
  await app.does("/store?name=cache&again=1");
  await app.does("/store?name=job&text=two");
  expect(daemon.log().filter(({ msg }) => msg === "instance.not-stored")).toEqual([]);
  await app.does("/store?name=more&text=three");
  expect(await codes(daemon)).toEqual(["STORE_FULL"]);
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  expect(await app.given()).toEqual([
    ["cache", "one"],
    ["job", "two"],
  ]);
});

test.each([
  ["a name that LISTEN_FDNAMES cannot carry", "/store?name=a:b&text=x", 3, "STORE_NAME_INVALID"],
  ["FDSTORE=1 without a descriptor", "/store?name=a&times=0", 3, "STORE_FAILED"],
  ["a service that may keep nothing", "/store?name=a&text=x", 0, "STORE_FULL"],
])("%s is refused, and nothing is kept", async (_, path, max, code) => {
  const { daemon, app } = await open({}, max);
  await using _daemon = daemon;
  await app.does(path);
  expect(await codes(daemon)).toEqual([code]);
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  expect(await app.given()).toEqual([]);
});

test("what has hung up is not kept, unless FDPOLL=0 says so", async () => {
  const { daemon, app } = await open({}, 2);
  await using _daemon = daemon;
  await app.does("/store?name=dead&hung=1");
  await app.does("/store?name=kept&hung=1&poll=0");
  // There is room for it: the first one counts no more.
  await app.does("/store?name=cache&text=one");
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  expect(await app.given()).toEqual([
    ["kept", "(no file)"],
    ["cache", "one"],
  ]);
});

test("nothing is left of what was let go: neither in the daemon nor in its keeper", SLOW, async () => {
  const { daemon, app } = await open();
  await using _daemon = daemon;
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  const counts = (): number[] => [daemon.descriptors, descriptorCount(keeperOf(daemon))];
  await daemon.until("one generation", ({ services }) => services[0]?.generations.length === 1);
  const before = counts();
  // Not more: a connection of the API's may have been closing when it was counted.
  const isAsBefore = (): boolean => counts().every((count, place) => count <= (before[place] ?? 0));
  for (const [round, version] of ["v2", "v3", "v4"].entries()) {
    await app.does(`/store?name=${version}&text=x`);
    await app.does(`/store?name=both&text=y`);
    expect(await daemon.deploy(version)).toMatchObject({ phase: "succeeded" });
    expect((await app.given()).length, `round ${round}`).toBe(2);
    await app.does(`/remove?name=${version}`);
    await app.does(`/remove?name=both`);
    await daemon.until("one generation", ({ services }) => services[0]?.generations.length === 1);
    await eventually("no more than there was before", isAsBefore);
  }
});

function keeperOf(daemon: Daemon): number {
  const isKeeper = (pid: number): boolean =>
    readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("handoff-keeper");
  return daemon.processes().find((pid) => isKeeper(pid)) ?? 0;
}
