/** Connections that move, with the SDK. At full size by `npm run soak -- moves`. The daemon's side alone: moves.test.ts. */
import { expect, test, vi } from "vitest";
import { lost } from "../support/load.ts";
import { Moving, sameness } from "../support/moving.ts";
import { eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";

vi.setConfig({ testTimeout: 90_000 });

const SAME = { closedIdle: 0, unasked: 0, failed: 0 };

test("deploys and a rollback under load: the same connections from the first to the last, and no request fails", async () => {
  await using moving = await Moving.open();
  await using quiet = await moving.idle(1000);
  await using busy = await moving.busy(64);
  for (const version of ["v1", "v2"]) await moving.deploy(version);
  const { json } = await moving.daemon.api("POST", "/v1/services/api/deploys", {
    version: "v3",
    bake: "10m",
  });
  const { id } = json as { readonly id: string };
  await moving.daemon.untilDeploy(id, { until: ["baking"] });
  await using since = await moving.idle(50);
  await moving.daemon.api("POST", "/v1/services/api/rollback");
  await moving.daemon.untilDeploy(id);
  await moving.alone();
  for (const [load, connections] of [
    [busy, 64],
    [quiet, 1000],
    [since, 50],
  ] as const) {
    const report = await load.stop();
    expect(lost(report)).toEqual(NOTHING);
    expect(sameness(report)).toEqual({ ...SAME, connections });
  }
  // The clients, those who gave, those who took, and the daemon.
  const moved = 2 * 1064 + 50;
  expect(moving.ended.map(({ off, given, returned }) => ({ off, given, returned }))).toEqual([
    { off: null, given: 1064, returned: 0 },
    { off: null, given: 1064, returned: 0 },
    { off: null, given: 50, returned: 0 },
  ]);
  expect(await moving.counts()).toMatchObject({ taken: 1064 + 50, broken: 0 });
  await eventually(
    "the daemon's count",
    async () => (await moving.counter("connections_moved_total")) === moved,
  );
  expect(await moving.counter("connections_move_failed_total")).toBe(0);
  expect(moving.said("generation.moved")).toEqual([
    "api/1 moved 1,064 connections to api/2, 0 drained",
    "api/2 moved 1,064 connections to api/3, 0 drained",
    "api/4 moved 50 connections to api/3, 0 drained",
  ]);
});

const CONNECTIONS = 300;
/** So many wait for an answer at most (handoff/app/route.ts). */
const ON_THEIR_WAY = 64;

/** In the middle of a move: some of the connections are between the two processes, and stay there while the new one is stopped. */
async function halfway(moving: Moving): Promise<{ readonly old: number; readonly young: number }> {
  const { json } = await moving.daemon.api("POST", "/v1/services/api/deploys", {
    version: "v1",
    bake: "10m",
  });
  const { id } = json as { readonly id: string };
  await moving.daemon.untilDeploy(id, { until: ["baking"] });
  const [old, young] = [await moving.pidOf(1), await moving.pidOf(2)];
  process.kill(young, "SIGSTOP");
  await moving.daemon.api("POST", `/v1/deploys/${id}/promote`);
  await moving.leaving(old, ON_THEIR_WAY);
  return { old, young };
}

test("the old one killed in the middle: what was sent is served, what was not is closed, once, and all count the same", async () => {
  await using moving = await Moving.open();
  await using quiet = await moving.idle(CONNECTIONS);
  const { old, young } = await halfway(moving);
  process.kill(old, "SIGKILL");
  await moving.alone();
  process.kill(young, "SIGCONT");
  // Each asks once more: those that were on their way have arrived when they are answered.
  const report = await quiet.stop();
  const { taken } = await moving.counts();
  expect(taken).toBe(ON_THEIR_WAY);
  await eventually(
    "the daemon's count",
    async () => (await moving.counter("connections_moved_total")) === taken,
  );
  expect(report.closedIdle).toBe(CONNECTIONS - taken);
  expect(lost(report)).toEqual(NOTHING);
});

test("the new one killed in the middle: what it had not taken goes back, and to whoever comes in its place", async () => {
  await using moving = await Moving.open();
  await using quiet = await moving.idle(CONNECTIONS);
  const { young } = await halfway(moving);
  process.kill(young, "SIGKILL");
  await moving.alone();
  const report = await quiet.stop();
  expect({ ...lost(report), ...sameness(report) }).toEqual({ ...NOTHING, ...SAME, connections: CONNECTIONS });
  const [old] = moving.ended;
  expect(old?.given).toBe(CONNECTIONS);
  expect(old?.returned).toBe(ON_THEIR_WAY);
  await eventually(
    "all that moved",
    async () => (await moving.counter("connections_moved_total")) === CONNECTIONS,
  );
  expect(await moving.counter("connections_move_failed_total")).toBe(old?.returned);
});

test("the daemon killed in the middle: they move without it, and the next one counts them", async () => {
  await using moving = await Moving.open();
  await using quiet = await moving.idle(CONNECTIONS);
  const { young } = await halfway(moving);
  moving.daemon.kill("SIGKILL");
  await moving.daemon.exit;
  process.kill(young, "SIGCONT");
  await eventually("the end of the old one", () => moving.ended.length === 1);
  await moving.daemon.restart();
  await moving.alone();
  await eventually(
    "all that moved",
    async () => (await moving.counter("connections_moved_total")) === CONNECTIONS,
  );
  const report = await quiet.stop();
  expect({ ...lost(report), ...sameness(report) }).toEqual({ ...NOTHING, ...SAME, connections: CONNECTIONS });
  expect(moving.said("generation.moved")).toEqual([
    `api/1 moved ${CONNECTIONS} connections to api/2, 0 drained`,
  ]);
});
