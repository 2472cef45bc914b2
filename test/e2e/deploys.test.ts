/** The main job: deploy after deploy under load, and not one connection lost. */
import { expect, test } from "vitest";

import { startDaemon, type Daemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };

function configuration(command: readonly string[], more: Readonly<Record<string, unknown>> = {}) {
  return {
    listeners: { web: { address: "tcp:127.0.0.1:0" } },
    services: {
      api: {
        command,
        version: "v0",
        listeners: ["web"],
        verify: [{ http: { path: "/healthz", expect: 200, count: 2 } }],
        deploy: { bake: "50ms" },
        drain: { timeout: "20s" },
        ...more,
      },
    },
  };
}

/** Deploys `count` versions, each as soon as the one before leaves its bake, with both kinds of load on. */
async function deployMany(daemon: Daemon, count: number, onDeployed: (n: number) => Promise<void> | void) {
  for (let n = 1; n <= count; n++) {
    const deploy = await daemon.deploy(`v${n}`, { until: ["draining"] });
    expect(deploy.reason, `deploy ${n}`).toBeNull();
    expect(["draining", "succeeded"], `deploy ${n}`).toContain(deploy.phase);
    await onDeployed(n);
  }
}

/** Waits until nothing drains any more: what the daemon holds can then be compared. */
async function settled(daemon: Daemon): Promise<{ descriptors: number; rssKiB: number; slots: number }> {
  await eventually(
    "every old generation to have ended",
    async () => (await daemon.service()).generations.length === 1,
    60_000,
  );
  const { listeners } = await daemon.status();
  return {
    descriptors: daemon.descriptors,
    rssKiB: daemon.rssKiB,
    slots: listeners.reduce((sum, { slots }) => sum + slots.length, 0),
  };
}

test("100 deploys under new connections and keep-alive lose nothing, and leave the daemon as it was", { timeout: 400_000 }, async () => {
  await using daemon = await startDaemon({ config: configuration(commandOf("polite.mjs")) });
  const { target } = addressOf(await daemon.status(), "web");
  const seconds = 380;
  await using fresh = startLoad({ target, mode: "new", connections: 8, rate: 400, seconds });
  await using kept = startLoad({ target, mode: "keepalive", connections: 16, thinkMs: [0, 20], rate: 400, seconds });
  await Promise.all([fresh.started, kept.started]);

  await deployMany(daemon, 10, (n) => void n);
  const early = await settled(daemon);
  const slotsAtTen = (await daemon.status()).listeners.map(({ slots }) => slots.length);
  await deployMany(daemon, 0, () => undefined);
  for (let n = 11; n <= 100; n++) {
    const deploy = await daemon.deploy(`v${n}`, { until: ["draining"] });
    expect(deploy.reason, `deploy ${n}`).toBeNull();
  }
  await fresh.sawGeneration(101);
  const late = await settled(daemon);
  const reports = await Promise.all([fresh.stop(), kept.stop()]);

  expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING]);
  const [first] = reports;
  for (let generation = 1; generation <= 101; generation++) expect(first.generations).toHaveProperty(String(generation));
  expect({ descriptors: late.descriptors, slots: late.slots, pool: slotsAtTen }).toEqual({
    descriptors: early.descriptors,
    slots: early.slots,
    pool: slotsAtTen,
  });
  expect(late.rssKiB).toBeLessThan(early.rssKiB * 1.25 + 8 * 1024);
});
