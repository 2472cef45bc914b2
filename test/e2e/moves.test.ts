/** Connections that outlive the process that accepted them. The daemon's side: the application speaks docs/wire.md by hand. */
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { type Load, lost, type Report, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf, root } from "../support/paths.ts";
import { type Address, addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";
import type { Deploy } from "../support/status.ts";

vi.setConfig({ testTimeout: 90_000 });

const APPLICATION = "moves-connections.py";

let daemon: Daemon;
let address: Address;

async function open(service: Config = {}): Promise<void> {
  daemon = await startDaemon({
    config: {
      ...oneService({
        command: commandOf(APPLICATION),
        ready: { by: "notify" },
        drain: { timeout: "60s" },
        ...service,
      }),
      // Other daemons of this host count theirs.
      marks: { base: 0x1_0000 * (1 + (process.pid % 0x7f00)) },
    },
  });
  address = addressOf(await daemon.status(), "web");
}
afterEach(() => daemon[Symbol.asyncDispose]());

/** A counter of the service, as Prometheus would see it. */
async function counter(name: string): Promise<number> {
  const { json } = await daemon.api("GET", "/metrics");
  const line = new RegExp(`^handoffd_${name}\\{service="api"\\} (\\d+)$`, "m").exec(String(json));
  return Number(line?.[1] ?? NaN);
}

const moved = (): Promise<number> => counter("connections_moved_total");

/** So many are open on the only generation, and so many have moved. What was counted a moment ago may be shown, and what is said is heard later. */
async function counted(connections: number, total: number): Promise<void> {
  await daemon.until(
    "the connections",
    ({ services: [api] }) => api?.generations[0]?.connections === connections,
  );
  await eventually("the moved ones", async () => (await moved()) === total);
}

function alone(): Promise<unknown> {
  return daemon.until("one generation", ({ services: [service] }) => service?.generations.length === 1);
}

async function deploy(version: string): Promise<Deploy> {
  const ended = await daemon.deploy(version);
  expect({ phase: ended.phase, reason: ended.reason }).toEqual({ phase: "succeeded", reason: null });
  await alone();
  return ended;
}

/** What the daemon has written down of the service. */
function written(): string {
  const files = ["live", "json"].map((suffix) => `${daemon.folder}/state/services/api.${suffix}`);
  return readFileSync(files.find((file) => existsSync(file)) ?? "", "utf8");
}

/** What was said of such events. */
function said(type: string): unknown[] {
  return daemon.log().flatMap(({ msg, detail }) => (msg === type ? [detail] : []));
}

async function idle(connections: number): Promise<Load> {
  const load = startLoad({ target: address.target, mode: "idle", connections });
  await load.settled;
  return load;
}

/** Nothing was lost, and no connection was opened twice. */
function expectSame(report: Report, connections: number): void {
  expect({ ...lost(report), connections: report.connections, closedIdle: report.closedIdle }).toEqual({
    ...NOTHING,
    connections,
    closedIdle: 0,
  });
}

/** A connection whose answer takes until `ms` have passed. Resolves to the version that has answered the next request. */
class Slow {
  readonly #socket: Socket;
  #text = "";

  constructor(ms: number) {
    this.#socket = createConnection(address.where);
    this.#socket.setEncoding("utf8").on("data", (text: string) => (this.#text += text));
    this.#socket.write(`GET /slow?ms=${ms} HTTP/1.1\r\nhost: x\r\n\r\n`);
  }

  async #answers(count: number): Promise<string> {
    const heads = (): string[] =>
      [...this.#text.matchAll(/x-version: (\S+)/gu)].map(([, version = ""]) => version);
    await eventually("an answer", () => heads().length >= count, 60_000);
    return heads()[count - 1] ?? "";
  }

  first(): Promise<string> {
    return this.#answers(1);
  }

  async second(): Promise<string> {
    this.#socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    return this.#answers(2);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

test("a deploy closes no connection: each goes to the next generation, and is counted there", async () => {
  await open();
  await using quiet = await idle(200);
  await using busy = startLoad({
    target: address.target,
    mode: "keepalive",
    connections: 16,
    thinkMs: [0, 20],
  });
  await busy.settled;
  await deploy("v1");
  const previous = { generation: 2, atEnd: 216, moved: 216, cut: 0 };
  expect(await deploy("v2")).toMatchObject({ evidence: { previous } });
  await counted(216, 2 * 216);
  expectSame(await busy.stop(), 16);
  expectSame(await quiet.stop(), 200);
  expect(await counter("connections_move_failed_total")).toBe(0);
  expect(said("generation.moved")).toEqual([
    "api/1 moved 216 connections to api/2, 0 drained",
    "api/2 moved 216 connections to api/3, 0 drained",
  ]);
});

test("a rollback moves back those that are on the candidate already", async () => {
  await open();
  await using before = await idle(10);
  const { id } = (await daemon.api("POST", "/v1/services/api/deploys", { version: "v1", bake: "10m" }))
    .json as {
    readonly id: string;
  };
  await daemon.untilDeploy(id, { until: ["baking"] });
  await using since = await idle(20);
  await daemon.api("POST", "/v1/services/api/rollback");
  expect((await daemon.untilDeploy(id)).phase).toBe("rolled-back");
  await alone();
  expect(await daemon.service()).toMatchObject({ current: 1, generations: [{ number: 1 }] });
  await counted(30, 20);
  for (const [load, count] of [
    [before, 10],
    [since, 20],
  ] as const) {
    const report = await load.stop();
    expectSame(report, count);
    expect(Object.keys(report.versions)).toContain("v0");
  }
});

test("an instance that leaves alone gives its connections to its siblings", async () => {
  await open({ instances: 3 });
  await using quiet = await idle(60);
  await daemon.api("PUT", "/v1/services/api/scale", { instances: 1 });
  await daemon.until("one instance", ({ services: [api] }) => api?.generations[0]?.instances.length === 1);
  const left = said("instance.moved").map((detail) =>
    /^instance ([23]) of api\/1 moved (\d+) conn/.exec(String(detail)),
  );
  const sum = left.reduce((so, found) => so + Number(found?.[2] ?? NaN), 0);
  await counted(60, sum);
  expect(left.length).toBeLessThanOrEqual(2);
  expectSame(await quiet.stop(), 60);
});

test("a successor that refuses leaves them where they are, and they drain politely", async () => {
  await open();
  await using busy = startLoad({
    target: address.target,
    mode: "keepalive",
    connections: 8,
    thinkMs: [0, 20],
  });
  await busy.settled;
  await deploy("refuses-1");
  expect(await moved()).toBe(0);
  expect(await counter("connections_move_failed_total")).toBeGreaterThan(0);
  expect(said("generation.moved")).toEqual([
    expect.stringMatching(/^api\/1 moved 0 connections to api\/2, \d drained$/),
  ]);
  expect(lost(await busy.stop())).toEqual(NOTHING);
});

test("when a successor dies of it, what it had not taken goes to whoever comes in its place", async () => {
  await open({ deploy: { bake: "0s" }, environment: { LAME_DUCK_MS: "600000" } });
  await using quiet = await idle(20);
  await deploy("dies-once");
  await counted(20, 20);
  expectSame(await quiet.stop(), 20);
  expect(said("instance.exited")).toContainEqual(expect.stringContaining("SIGKILL"));
});

test("who finds nobody is given a way as soon as there is somebody, by another daemon if need be", async () => {
  await open({ environment: { LAME_DUCK_MS: "600000" } });
  await using quiet = await idle(5);
  // It takes nothing of that kind: the old generation cannot end, and waits.
  await daemon.deploy("other-1", { until: ["draining"] });
  await daemon.until("a drain", ({ services: [api] }) =>
    api?.generations.some(({ state }) => state === "draining"),
  );
  await eventually("a wish that is written down", () => written().includes('"wants":true'));
  daemon.kill("SIGKILL");
  await daemon.exit;
  await daemon.restart();
  await daemon.deploy("v2", { until: ["draining"] });
  await eventually("five that have moved", async () => (await moved()) === 5);
  expectSame(await quiet.stop(), 5);
});

test("a daemon that is killed, or upgraded, while connections move is missed by nobody", async () => {
  await open();
  for (const [version, change] of [
    ["v1", () => daemon.upgrade()],
    [
      "v2",
      async () => {
        daemon.kill("SIGKILL");
        await daemon.exit;
        await daemon.restart();
      },
    ],
  ] as const) {
    await using quiet = await idle(30);
    using slow = new Slow(3000);
    await daemon.deploy(version, { until: ["draining"] });
    await eventually("those that were idle", async () => (await moved()) >= 30);
    await change();
    await slow.first();
    expect(await slow.second()).toBe(version);
    await alone();
    expectSame(await quiet.stop(), 30);
    expect(said("generation.moved").at(-1)).toMatch(/ moved 31 connections to api\/\d, 0 drained$/);
  }
});

test("a program that never stops talking loses its channel, and nothing else happens", async () => {
  await open();
  const before = daemon.rssKiB;
  await deploy("floods-1");
  await eventually("the violation", () => said("instance.violation").length > 0);
  expect(said("instance.violation")).toEqual([
    expect.stringMatching(
      /^instance 1 of api\/2: the peer broke the protocol: a program said too much in too short a time/,
    ),
  ]);
  await using quiet = await idle(5);
  await deploy("v2");
  expect(lost(await quiet.stop())).toEqual(NOTHING);
  expect(await moved()).toBe(0);
  expect(daemon.rssKiB - before).toBeLessThan(50 * 1024);
});

test("an instance knows how it will be told to end, and how long it has then", async () => {
  await open({ drain: { signal: "SIGUSR2", timeout: "7s" } });
  const socket = createConnection(address.where);
  const text = once(socket.setEncoding("utf8"), "data");
  socket.write("GET /environment HTTP/1.1\r\nhost: x\r\n\r\n");
  const [environment] = (await text) as [string];
  expect(environment).toContain("\nHANDOFF_DRAIN_SIGNAL=SIGUSR2\n");
  expect(environment).toContain("\nHANDOFF_DRAIN_TIMEOUT_MS=7000\n");
  socket.destroy();
  await deploy("v1");
});

test("connections of instances that someone else starts move like all others", async () => {
  const launcher = `${root}/build/Release/handoff-exec`;
  const place = "{generation}-{instance}";
  const start = '"$0" --socket "$1" --place "$2" -- "$3" "$4" </dev/null & echo $! > "$1.$2.pid"';
  const stop = 'kill -TERM "$(cat "$0.$1.pid")" || true';
  await open({
    command: undefined,
    instances: 2,
    external: {
      allow: { uid: process.getuid?.() ?? 0 },
      start: ["/bin/sh", "-c", start, launcher, "{dir}/run/api.sock", place, ...commandOf(APPLICATION)],
      stop: ["/bin/sh", "-c", stop, "{dir}/run/api.sock", place],
    },
  });
  await using quiet = await idle(20);
  await deploy("v1");
  await counted(20, 20);
  expectSame(await quiet.stop(), 20);
});
