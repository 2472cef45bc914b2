/** Old generations that take their time: nobody waits for them, everybody can see them, and someone can end them. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startDaemon, type Daemon } from "../support/daemon.ts";
import { LongAnswers } from "../support/long-answers.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { addressOf, type Address } from "../support/ports.ts";
import { alive, eventually } from "../support/processes.ts";
import type { GenerationStatus } from "../support/status.ts";

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };
/** Longer than any test here: what ends earlier was ended. */
const DRAIN_S = 600;

let daemon: Daemon;
let address: Address;
beforeEach(async () => {
  daemon = await startDaemon({
    config: oneService({ drain: { timeout: `${DRAIN_S}s` }, deploy: { bake: "0s" } }),
  });
  address = addressOf(await daemon.status(), "web");
});
afterEach(() => daemon[Symbol.asyncDispose]());

async function draining(): Promise<GenerationStatus[]> {
  return (await daemon.service()).generations.filter(({ state }) => state === "draining");
}

const end = (generation: number) => daemon.api("POST", `/v1/services/api/generations/${generation}/end`);

/** Leaves the current generation with so many answers that do not end by themselves, and deploys the next one. */
async function leaveBehind(count: number, version: string): Promise<LongAnswers> {
  const answers = await LongAnswers.open(count, address.where);
  await daemon.deploy(version, { until: ["draining"] });
  return answers;
}

interface Entry {
  readonly type: string;
  readonly id: string;
  readonly [field: string]: unknown;
}

function history(): Entry[] {
  const text = readFileSync(`${daemon.folder}/state/history.jsonl`, "utf8");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Entry]));
}

test(
  "three generations drain at once, each is shown with its time and its connections, and deploys go on",
  { timeout: 60_000 },
  async () => {
    await using load = startLoad({ target: address.target, mode: "new", connections: 4, rate: 100 });
    await load.started;
    const began = Date.now();
    using one = await leaveBehind(1, "v1");
    using two = await leaveBehind(2, "v2");
    using three = await leaveBehind(3, "v3");
    // Each would have had to wait for the one before.
    expect(Date.now() - began).toBeLessThan(20_000);

    const shown = await eventually("three that have settled", async () => {
      const found = await draining();
      return found.length === 3 && found.every(({ draining: drain }) => deadlineOf(drain) < Infinity)
        ? found
        : undefined;
    });
    expect(shown.map(({ number, draining: drain }) => [number, drain?.connections])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    for (const { draining: drain } of shown) {
      const since = Date.parse(drain?.since ?? "");
      expect(since).toBeGreaterThanOrEqual(began);
      const lasts = deadlineOf(drain) - since;
      expect(lasts).toBeGreaterThanOrEqual(DRAIN_S * 1000);
      expect(lasts).toBeLessThanOrEqual(DRAIN_S * 1000 + 6000); // drain.settle, and what it takes to look
    }
    const { stdout } = await daemon.cli("status");
    expect(stdout).toMatch(/generation 1 has drained for \d+ s, at most \d+ min more; 1 connection open\n/);
    expect(stdout).toMatch(/generation 3 has drained for \d+ s, at most \d+ min more; 3 connections open\n/);
    for (const line of stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);

    // What is finished ends its generation at once, the youngest first if it so happens.
    three.finish();
    await eventually("the end of generation 3", async () => (await draining()).length === 2);
    expect((await daemon.untilDeploy("api-4")).phase).toBe("succeeded");
    expect(one.cut + two.cut).toBe(0);
    expect(lost(await load.stop())).toEqual(NOTHING);
  },
);

test("a generation that drains is ended by hand, which cuts what it has, counts that and says who did it", async () => {
  using kept = await leaveBehind(1, "v1");
  using ended = await leaveBehind(2, "v2");
  const two = await eventually("generation 2 with its connections", async () =>
    (await draining()).find(({ number, connections }) => number === 2 && connections === 2),
  );
  await using load = startLoad({ target: address.target, mode: "new", connections: 4, rate: 100 });
  await load.started;

  const { status, json } = await end(2);
  expect(status).toBe(200);
  const body = json as GenerationStatus;
  expect(body).toMatchObject({ number: 2, state: "draining", draining: { connections: 2 } });
  expect(deadlineOf(body.draining)).toBeLessThanOrEqual(Date.now());
  await eventually("two cut connections", () => ended.cut === 2);
  const deploy = await daemon.untilDeploy("api-3");
  expect(alive(two.instances[0]?.pid ?? 0)).toBe(false);
  expect(kept.cut).toBe(0);
  expect(lost(await load.stop())).toEqual(NOTHING);

  expect(deploy).toMatchObject({
    phase: "succeeded",
    evidence: {
      candidate: { generation: 3, atEnd: null, cut: null, endedBy: null },
      previous: { generation: 2, atShift: 2, peak: 2, atEnd: 2, cut: 2, endedBy: "root (uid 0)" },
    },
  });
  expect(history()).toContainEqual(
    expect.objectContaining({ type: "end", id: "api/2", service: "api", by: "root (uid 0)", cut: 2 }),
  );
  expect(JSON.stringify(daemon.log())).toContain("api/2 was ended by root (uid 0): 1 of its processes");
  const { json: metrics } = await daemon.api("GET", "/metrics");
  expect(metrics).toContain('handoffd_drain_cut_connections_total{service="api"} 2');
});

test("only a generation that drains is ended by hand; the others are refused with the way out", async () => {
  expect(await end(1)).toMatchObject({ status: 409, json: { code: "GENERATION_IN_USE" } });
  expect((await end(7)).json).toMatchObject({ status: 404, code: "GENERATION_UNKNOWN" });
  const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1", bake: "10m" });
  await daemon.untilDeploy((json as { id: string }).id, { until: ["baking"] });
  const { code, stderr } = await daemon.cli("end", "api", "1");
  expect([code, stderr]).toEqual([4, expect.stringContaining("handoffctl promote api")]);
  const refused = (await end(2)).json as { readonly detail: string };
  expect(refused.detail).toContain("handoffctl deploy api");
  expect(await daemon.service()).toMatchObject({ current: 2, previous: 1, deploy: { phase: "baking" } });
  expect((await daemon.cli("end", "api", "zero")).code).toBe(2);

  await daemon.cli("promote", "api", "--wait");
  await eventually("the end of generation 1", async () => (await draining()).length === 0);
  expect(await end(1)).toMatchObject({ status: 404 });
});

test(
  "an end by hand that the daemon did not live to do is done by the next one",
  { timeout: 60_000 },
  async () => {
    using answers = await leaveBehind(2, "v1");
    const one = await eventually("a drain", async () => (await draining())[0]);
    const pid = one.instances[0]?.pid ?? 0;
    // A stopped daemon answers nothing and kills nobody; the record of an end is what a killed one may have left.
    daemon.kill("SIGKILL");
    await daemon.exit;
    endInSnapshot(`${daemon.folder}/state/services`, 1, "someone (uid 7)");
    expect(alive(pid)).toBe(true);
    await daemon.restart();
    await eventually("the end of generation 1", async () => (await draining()).length === 0);
    await eventually("two cut connections", () => answers.cut === 2);
    expect(await daemon.untilDeploy("api-2")).toMatchObject({
      phase: "succeeded",
      evidence: { previous: { cut: 2, endedBy: "someone (uid 7)" } },
    });
  },
);

function deadlineOf(drain: GenerationStatus["draining"]): number {
  return drain === undefined ? Infinity : Date.parse(drain.deadline);
}

/** Writes down that someone has ended the generation, as the daemon does it before it acts. */
function endInSnapshot(folder: string, generation: number, by: string): void {
  for (const file of readdirSync(folder)) {
    const content = JSON.parse(readFileSync(`${folder}/${file}`, "utf8")) as {
      generations: { number: number; traffic: object }[];
    };
    const record = content.generations.find(({ number }) => number === generation);
    if (record !== undefined) record.traffic = { ...record.traffic, ended: { by, at: Date.now() } };
    writeFileSync(`${folder}/${file}`, JSON.stringify(content));
  }
}
