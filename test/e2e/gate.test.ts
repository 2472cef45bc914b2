/** Nobody meets a generation that has not proved itself; the way back costs one call. */
import { existsSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { startDaemon, type Config } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask, countConnections } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import type { Status } from "../support/status.ts";

/** Verification that waits for a file: the candidate is ready and unverified for as long as the test wants. */
function heldInVerification(address: string): Config {
  const wait = "[ $HANDOFF_VERSION = v0 ] || until [ -e {dir}/go ]; do sleep 0.02; done";
  return oneService(
    { verify: [{ command: ["/bin/sh", "-c", wait], timeout: "100s" }], deploy: { bake: "100s" } },
    address,
  );
}

/** The slot that a generation has on the only listener. */
function slotOf(status: Status, generation: string): number {
  const slot = status.listeners[0]?.slots.find((each) => each.generation === generation);
  if (slot === undefined) throw new Error(`${generation} has no slot`);
  return slot.index;
}

test.each(["tcp:127.0.0.1:0", "tcp:0.0.0.0:0"])(
  "10,000 connections to %s never reach a candidate that is ready but unverified, and the pin always does",
  { timeout: 120_000 },
  async (address) => {
    await using daemon = await startDaemon({ config: heldInVerification(address) });
    const { where } = addressOf(await daemon.status(), "web");
    const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" });
    const { id } = json as { id: string };
    await daemon.untilDeploy(id, { until: ["verifying"] });
    await eventually("the candidate to accept", async () => {
      const status = await daemon.status();
      const source = `127.77.0.${slotOf(status, "api/2") + 1}`;
      return (await ask(where, { source })).generation === 2;
    });

    expect(await countConnections(10_000, where, { concurrency: 32 })).toEqual({ "1": 10_000 });
    const status = await daemon.status();
    const [current, candidate] = ["api/1", "api/2"].map((name) => `127.77.0.${slotOf(status, name) + 1}`);
    expect(await countConnections(200, where, { source: candidate ?? "" })).toEqual({ "2": 200 });
    expect(await countConnections(200, where, { source: current ?? "" })).toEqual({ "1": 200 });

    writeFileSync(`${daemon.folder}/go`, "");
    await daemon.untilDeploy(id, { until: ["baking"] });
    expect(await countConnections(500, where)).toEqual({ "2": 500 });
  },
);

test("a rollback while baking gives the very next connection to the previous generation and starts no process", async () => {
  await using daemon = await startDaemon({ config: oneService({ deploy: { bake: "100s" } }) });
  const { where, target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "new", connections: 8, rate: 400 });
  await load.started;
  for (let round = 0; round < 10; round++) {
    const before = await daemon.service();
    const pids = before.generations.flatMap(({ instances }) => instances.map(({ pid }) => pid));
    const deploy = await daemon.deploy(`v${round}`, { until: ["baking"] });
    expect(deploy).toMatchObject({ phase: "baking", reason: null });
    const started = daemon.log().filter(({ msg }) => msg === "instance.started").length;

    const { status, json } = await daemon.api("POST", "/v1/services/api/rollback");
    const answer = await ask(where);

    expect({ status, weight: (json as { weight: number }).weight }).toEqual({ status: 202, weight: 0 });
    expect({ generation: answer.generation, pid: pids.includes(answer.pid ?? 0) }).toEqual({
      generation: before.current,
      pid: true,
    });
    const ended = await daemon.untilDeploy(deploy.id);
    expect(ended).toMatchObject({ phase: "rolled-back", reason: { code: "DEPLOY_ROLLED_BACK" } });
    expect(daemon.log().filter(({ msg }) => msg === "instance.started").length).toBe(started);
  }
  expect(lost(await load.stop())).toEqual({ refused: 0, reset: 0, cut: 0, late: 0 });
  expect(existsSync(daemon.socket)).toBe(true);
});
