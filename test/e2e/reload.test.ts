/** Reading the configuration again: what is new is there, what is removed is given up without a loss, what is wrong changes nothing. */
import { existsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { startDaemon, type Config, type Daemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask, codeOf } from "../support/net.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import type { Status } from "../support/status.ts";

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };
const ANY = "tcp:127.0.0.1:0";

interface Shape {
  readonly listeners?: Config;
  readonly services?: Config;
  readonly rest?: Config;
}

const api = (more: Config = {}): Config => ({
  command: commandOf("polite.mjs"),
  version: "v0",
  listeners: ["web"],
  deploy: { bake: "50ms" },
  drain: { settle: "20s", timeout: "20s" },
  ...more,
});

const configuration = ({ listeners, services, rest }: Shape = {}): Config => ({
  listeners: listeners ?? { web: { address: ANY } },
  services: services ?? { api: api() },
  ...rest,
});

interface Reloaded {
  readonly added: { readonly listeners: string[]; readonly services: string[] };
  readonly removed: { readonly listeners: string[]; readonly services: string[] };
  readonly changed: unknown;
  readonly pending: unknown;
  readonly needsRestart: string[];
}

async function reload(daemon: Daemon, config: Config): Promise<Reloaded> {
  daemon.configure(config);
  const { status, json } = await daemon.api("POST", "/v1/reload");
  expect({ status, json }).toMatchObject({ status: 200 });
  return json as Reloaded;
}

const NO_CHANGE = {
  added: { listeners: [], services: [] },
  removed: { listeners: [], services: [] },
  changed: { listeners: [], services: [], daemon: [] },
  pending: [],
  needsRestart: [],
  warnings: [],
};

/** How many connections wait in all slots of a listener. */
const waiting = ({ listeners }: Status, name: string): number =>
  listeners
    .find((each) => each.name === name)
    ?.slots.reduce((sum, { queue }) => sum + (queue?.length ?? 0), 0) ?? 0;

const isThere = ({ listeners }: Status, name: string): boolean =>
  listeners.some((each) => each.name === name);

/** All of the status that a reload may change. Not the open connections: those of the readiness proof may be counted still. */
async function parts(daemon: Daemon): Promise<unknown> {
  const { listeners, services } = await daemon.status();
  const uncounted = services.map((service) => ({
    ...service,
    generations: service.generations.map((generation) => ({ ...generation, connections: "any" })),
  }));
  return { listeners, services: uncounted };
}

async function pidOf(daemon: Daemon, service = "api"): Promise<number> {
  const pid = (await daemon.service(service)).generations[0]?.instances[0]?.pid;
  if (pid === undefined) throw new Error(`no process of ${service}`);
  return pid;
}

describe("what cannot be applied changes nothing", () => {
  test("a file with mistakes, a change that cannot be made, an address that is taken", async () => {
    await using daemon = await startDaemon({ config: configuration() });
    const before = await parts(daemon);
    const unchanged = async (): Promise<void> => {
      expect(await parts(daemon)).toEqual(before);
    };
    const attempt = async (
      config: Config | string,
    ): Promise<{ code: string; detail: string; status: number }> => {
      daemon.configure(config);
      return (await daemon.api("POST", "/v1/reload")).json as {
        code: string;
        detail: string;
        status: number;
      };
    };

    const bad = await attempt(
      configuration({ listeners: { web: { address: ANY, backlog: 0 }, more: { address: ANY } } }),
    );
    expect(bad).toMatchObject({ status: 400, code: "CONFIG_INVALID" });
    expect(bad.detail).toMatch(/handoffd\.yaml:5:14: listeners\.web\.backlog: 0 is too small/u);
    await unchanged();

    const moved = await attempt(configuration({ listeners: { web: { address: "tcp:127.0.0.1:1" } } }));
    expect(moved).toMatchObject({ status: 409, code: "RELOAD_REFUSED" });
    expect(moved.detail).toMatch(/listeners\.web\.address: .*add a listener of another name/u);
    await unchanged();

    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const { descriptors } = daemon;
    const taken = await attempt(
      configuration({
        listeners: {
          web: { address: ANY, backlog: 9 },
          one: { address: ANY },
          two: { address: `127.0.0.1:${port}` },
        },
      }),
    );
    expect(taken).toMatchObject({ status: 409, code: "LISTENER_ADDRESS_IN_USE" });
    await unchanged();
    // What was opened before the one that could not be is closed. Not more: the API's own connection may be closing.
    await eventually("no descriptor more than before", () => daemon.descriptors <= descriptors);
    other.close();

    const cli = await daemon.cli("reload");
    expect(cli).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("listener two is added") as string,
    });
    expect(await reload(daemon, configuration())).toMatchObject({ removed: { listeners: ["one", "two"] } });
    await daemon.until(
      "what nobody uses to be gone",
      (status) => !isThere(status, "one") && !isThere(status, "two"),
    );
    expect(await reload(daemon, configuration())).toEqual(NO_CHANGE);
    expect((await daemon.cli("reload")).stdout).toBe("nothing has changed\n");
  });
});

test("a listener that is added holds its connections until the service's next deploy, and has them served then", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  const listeners = { web: { address: ANY }, more: { address: ANY } };
  const wanted = configuration({ listeners, services: { api: api({ listeners: ["web", "more"] }) } });
  expect(await reload(daemon, wanted)).toMatchObject({
    added: { listeners: ["more"], services: [] },
    pending: [{ name: "api", keys: ["listeners"] }],
  });
  expect(await daemon.service()).toMatchObject({ pending: ["listeners"] });
  const { where } = addressOf(await daemon.status(), "more");
  const asked = Array.from({ length: 20 }, () => ask(where, { timeoutMs: 30_000 }));
  await daemon.until("20 connections to wait", (status) => waiting(status, "more") === 20);

  expect((await daemon.deploy("v1")).phase).toBe("succeeded");
  const answers = await Promise.all(asked);
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect((await ask(where)).generation).toBe(2);
  expect(await daemon.service()).not.toHaveProperty("pending");
});

test("a listener that is removed under load is served until its generation drains, and nobody who was connected loses anything", async () => {
  const listeners = { web: { address: ANY }, old: { address: ANY } };
  await using daemon = await startDaemon({
    config: configuration({ listeners, services: { api: api({ listeners: ["web", "old"] }) } }),
  });
  const status = await daemon.status();
  const [web, old] = [addressOf(status, "web"), addressOf(status, "old")];
  const common = { mode: "new", connections: 24, rate: 200, seconds: 60, path: "/slow?ms=100" } as const;
  await using kept = startLoad({ ...common, target: web.target });
  await using given = startLoad({ ...common, target: old.target });
  await Promise.all([kept.started, given.started]);

  expect(await reload(daemon, configuration())).toMatchObject({ removed: { listeners: ["old"] } });
  expect((await daemon.status()).listeners.find(({ name }) => name === "old")).toMatchObject({
    leaving: true,
  });
  expect((await ask(old.where)).generation).toBe(1);
  const begun = Date.now();
  expect((await daemon.deploy("v1")).phase).toBe("succeeded");
  await daemon.until("the listener to be gone", (now) => !isThere(now, "old"));
  const reports = await Promise.all([kept.stop(), given.stop()]);

  expect(lost(reports[0])).toEqual(NOTHING);
  expect(lost(reports[1])).toEqual({ ...NOTHING, refused: expect.any(Number) as number });
  expect(reports[1].refused).toBeGreaterThan(0);
  expect(reports[1].errors.filter(({ ms }) => reports[1].startedAt + ms < begun)).toEqual([]);
  expect(reports[1]).toMatchObject({ badStatus: 0, timeout: 0, eof: 0, malformed: 0 });
});

test("what waits in the queue of a listener that refuses already is answered", async () => {
  const listeners = { web: { address: ANY }, old: { address: ANY } };
  await using daemon = await startDaemon({
    config: configuration({ listeners, services: { api: api({ listeners: ["web", "old"] }) } }),
  });
  const { where } = addressOf(await daemon.status(), "old");
  const pid = await pidOf(daemon);
  await reload(daemon, configuration());
  await daemon.deploy("v1", { until: ["baking"], body: { bake: "1h" } });
  process.kill(pid, "SIGSTOP");
  const asked = Array.from({ length: 100 }, () => ask(where, { timeoutMs: 30_000 }));
  await daemon.until("100 connections to wait", (status) => waiting(status, "old") === 100);
  expect((await daemon.cli("promote", "api-2")).code).toBe(0);
  await eventually("new connections to be refused", async () => {
    try {
      await ask(where, { timeoutMs: 200 });
      return false;
    } catch (error) {
      return codeOf(error) === "ECONNREFUSED";
    }
  });
  // One or another of the looks above may have been early enough to wait as well.
  expect(waiting(await daemon.status(), "old")).toBeGreaterThanOrEqual(100);
  process.kill(pid, "SIGCONT");
  const answers = await Promise.all(asked);
  expect(answers.map(({ generation }) => generation)).toEqual(answers.map(() => 1));
  await daemon.until("the listener to be gone", (now) => !isThere(now, "old"));
});

test("a rollback while baking goes on serving the listener that is leaving, over the daemon's death, and it can stay after all", async () => {
  const listeners = { web: { address: ANY }, old: { address: ANY } };
  const before = configuration({ listeners, services: { api: api({ listeners: ["web", "old"] }) } });
  await using daemon = await startDaemon({ config: before });
  const { where } = addressOf(await daemon.status(), "old");
  await reload(daemon, configuration());
  await daemon.deploy("v1", { until: ["baking"], body: { bake: "1h" } });
  expect((await ask(where)).generation).toBe(1);
  daemon.kill("SIGKILL");
  await daemon.restart();
  expect((await ask(where)).generation).toBe(1);
  expect((await daemon.cli("rollback", "api")).code).toBe(0);
  await daemon.until("the candidate's end", ({ services }) => services[0]?.generations.length === 1);
  expect((await ask(where)).generation).toBe(1);
  expect(await reload(daemon, before)).toMatchObject({ added: { listeners: ["old"] }, pending: [] });
  expect((await daemon.deploy("v2")).phase).toBe("succeeded");
  expect((await ask(where)).generation).toBe(3);
});

test("a listener that its service drops and the file keeps has its connections held", async () => {
  const listeners = { web: { address: ANY }, old: { address: ANY } };
  await using daemon = await startDaemon({
    config: configuration({ listeners, services: { api: api({ listeners: ["web", "old"] }) } }),
  });
  const { where } = addressOf(await daemon.status(), "old");
  await reload(daemon, configuration({ listeners }));
  expect((await daemon.deploy("v1")).phase).toBe("succeeded");
  await daemon.until("the old generation's end", ({ services }) => services[0]?.generations.length === 1);
  const asked = Array.from({ length: 10 }, () => ask(where, { timeoutMs: 30_000 }));
  await daemon.until("10 connections to wait", (status) => waiting(status, "old") === 10);
  await reload(daemon, configuration({ listeners, services: { api: api({ listeners: ["web", "old"] }) } }));
  expect((await daemon.deploy("v2")).phase).toBe("succeeded");
  expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(asked.map(() => 200));
});

test("a backlog is raised while connections wait, and none of them is lost", async () => {
  const backlog = (n: number): Config => configuration({ listeners: { web: { address: ANY, backlog: n } } });
  await using daemon = await startDaemon({ config: backlog(8) });
  const { where } = addressOf(await daemon.status(), "web");
  const pid = await pidOf(daemon);
  process.kill(pid, "SIGSTOP");
  const asked = Array.from({ length: 64 }, () => ask(where, { timeoutMs: 30_000 }));
  // One more than the backlog: the kernel compares with ">".
  await daemon.until("a full queue", (status) => waiting(status, "web") === 9);
  expect(await reload(daemon, backlog(128))).toMatchObject({
    changed: { listeners: [{ name: "web", keys: ["backlog"] }], services: [] },
  });
  expect((await daemon.status()).listeners[0]?.slots.map(({ queue }) => queue?.limit)).toEqual([128, 128]);
  await daemon.until("all of them to wait", (status) => waiting(status, "web") === 64);
  process.kill(pid, "SIGCONT");
  expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(asked.map(() => 200));
});

test("a changed service runs on as it is, says what is pending, and its next deploy brings it", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  const { where } = addressOf(await daemon.status(), "web");
  const changed = api({
    environment: { COLOUR: "blue" },
    drain: { timeout: "10s" },
    deploy: { bake: "10ms" },
  });
  const wanted = configuration({
    services: { api: changed },
    rest: { log: { level: "debug" }, marks: "off" },
  });
  const pending = [{ name: "api", keys: ["environment", "drain"] }];
  expect(await reload(daemon, wanted)).toEqual({
    ...NO_CHANGE,
    changed: {
      listeners: [],
      services: [{ name: "api", keys: ["environment", "deploy", "drain"] }],
      daemon: ["log.level"],
    },
    pending,
    needsRestart: ["marks"],
  });
  expect(await reload(daemon, wanted)).toEqual({ ...NO_CHANGE, pending, needsRestart: ["marks"] });
  expect((await daemon.cli("status")).stdout).toContain("with the next deploy: environment, drain");
  expect((await ask(where, { path: "/environment" })).body).not.toContain("COLOUR");
  expect((await daemon.deploy("v1")).phase).toBe("succeeded");
  expect((await ask(where, { path: "/environment" })).body).toContain('"COLOUR":"blue"');
  expect(await daemon.service()).not.toHaveProperty("pending");
});

test("a service that is added starts, and one that is removed drains under load", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  const both = configuration({
    listeners: { web: { address: ANY }, shop: { address: ANY } },
    services: { api: api(), shop: api({ listeners: ["shop"] }) },
  });
  expect(await reload(daemon, both)).toMatchObject({ added: { listeners: ["shop"], services: ["shop"] } });
  const { target, where } = addressOf(await daemon.status(), "shop");
  expect((await ask(where, { timeoutMs: 20_000 })).status).toBe(200);
  await using load = startLoad({
    target,
    mode: "new",
    connections: 24,
    rate: 200,
    seconds: 60,
    path: "/slow?ms=200",
  });
  await load.started;
  const begun = Date.now();
  expect(await reload(daemon, configuration())).toMatchObject({
    removed: { listeners: ["shop"], services: ["shop"] },
  });
  await daemon.until("the service to be gone", (now) => now.services.length === 1 && !isThere(now, "shop"));
  const report = await load.stop();
  expect(lost(report)).toEqual({ ...NOTHING, refused: expect.any(Number) as number });
  expect(report.refused).toBeGreaterThan(0);
  expect(report.errors.filter(({ ms }) => report.startedAt + ms < begun)).toEqual([]);
  expect((await daemon.service()).state).toBe("running");
  // Its name is free again, and its numbers are not used twice.
  expect(await reload(daemon, both)).toMatchObject({ added: { services: ["shop"] } });
  await daemon.until("the service to run", ({ services }) => services[1]?.state === "running");
  expect((await daemon.service("shop")).current).toBe(2);
});

test("a unix socket's mode changes on its path, and its path goes with it", async () => {
  const unix = (mode: string): Config =>
    configuration({
      listeners: { web: { address: ANY }, ipc: { address: "unix:{dir}/ipc.sock", mode } },
      services: { api: api({ listeners: ["web", "ipc"] }) },
    });
  await using daemon = await startDaemon({ config: unix("0600") });
  const path = `${daemon.folder}/ipc.sock`;
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(await reload(daemon, unix("0666"))).toMatchObject({
    changed: { listeners: [{ name: "ipc", keys: ["mode"] }] },
  });
  expect(statSync(path).mode & 0o777).toBe(0o666);
  expect((await daemon.deploy("v1")).phase).toBe("succeeded");
  expect(statSync(path).mode & 0o777).toBe(0o666);
  await reload(daemon, configuration());
  expect((await ask({ path })).generation).toBe(2);
  expect((await daemon.deploy("v2")).phase).toBe("succeeded");
  await daemon.until("the listener to be gone", (now) => !isThere(now, "ipc"));
  expect(existsSync(path)).toBe(false);
});

describe("a daemon that is killed in the middle", () => {
  const listeners = { web: { address: ANY }, old: { address: ANY }, shop: { address: ANY } };
  const before = configuration({
    listeners,
    services: { api: api({ listeners: ["web", "old"] }), shop: api({ listeners: ["shop"] }) },
  });

  test("of a removal comes to the same end when it is back", async () => {
    await using daemon = await startDaemon({ config: before });
    const status = await daemon.status();
    const [old, shop] = [addressOf(status, "old").where, addressOf(status, "shop").where];
    const slow = [old, shop].map((where) => ask(where, { path: "/slow?ms=4000", timeoutMs: 30_000 }));
    await eventually("both to be asked", async () => (await daemon.status()).services.every(isBusy));
    await reload(daemon, configuration());
    await daemon.deploy("v1", { until: ["draining"] });
    daemon.kill("SIGKILL");
    await daemon.restart();
    await expect(ask(old)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(ask(shop)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect((await Promise.all(slow)).map((answer) => answer.status)).toEqual([200, 200]);
    await isClean(daemon);
  });

  test("before a reload sees what was removed from the file meanwhile", async () => {
    await using daemon = await startDaemon({ config: before });
    const status = await daemon.status();
    const [old, shop] = [addressOf(status, "old").where, addressOf(status, "shop").where];
    daemon.kill("SIGKILL");
    await daemon.exit;
    daemon.configure(configuration());
    await daemon.restart();
    await expect(ask(shop)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect((await ask(old)).generation).toBe(1);
    expect((await daemon.deploy("v1")).phase).toBe("succeeded");
    await isClean(daemon);
  });

  async function isClean(daemon: Daemon): Promise<void> {
    await daemon.until(
      "nothing to be left of what was removed",
      ({ listeners: names, services }) =>
        names.map(({ name }) => name).join() === "web" &&
        services.length === 1 &&
        services[0]?.generations.length === 1,
      30_000,
    );
    expect((await daemon.deploy("v9")).phase).toBe("succeeded");
  }
});

function isBusy({
  generations,
}: {
  readonly generations: readonly { readonly connections: number | null }[];
}): boolean {
  return (generations[0]?.connections ?? 0) > 0;
}
