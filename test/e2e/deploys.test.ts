/** The main job: deploy after deploy under load, and not one connection lost. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { startDaemon, type Config, type Daemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf, root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };
const DEPLOYS = 100;
/** Answers that take longer than the bake: some are under way whenever an old generation is told to end. */
const IN_FLIGHT = { connections: 48, rate: 240, path: "/slow?ms=150" };

const configuration = (application: string, more: Config = {}) =>
  oneService({
    command: commandOf(application),
    verify: [{ http: { path: "/healthz", expect: 200, count: 2 } }],
    ...more,
  });

/**
 * Deploys the versions from `first` to `last`, each as soon as the one before leaves its bake. One generation may drain
 * meanwhile; two would take a slot more, whenever the machine is slow.
 */
async function deployEach(daemon: Daemon, first: number, last: number): Promise<void> {
  for (let n = first; n <= last; n++) {
    await eventually(
      "no more than one generation that drains",
      async () => (await daemon.service()).generations.length <= 2,
      60_000,
    );
    const deploy = await daemon.deploy(`v${n}`, { until: ["draining"] });
    expect({ n, phase: deploy.phase, reason: deploy.reason }).toEqual({
      n,
      phase: expect.stringMatching(/^(draining|succeeded)$/) as string,
      reason: null,
    });
  }
}

/** A daemon that tells what it holds. A small young generation: its own growth, up to 48 MB, is not looked for. */
const MEASURED = {
  program: `${root}/test/fixtures/measured-daemon.mjs`,
  environment: { NODE_OPTIONS: "--max-semi-space-size=1" },
};

interface Holdings {
  readonly slots: number;
  /** Objects of class Generation that are reachable in it. */
  readonly generations: number;
  readonly rssKiB: number;
  readonly heapKiB: number;
}

/** What the daemon holds once nothing drains any more, all garbage collected. */
async function holdings(daemon: Daemon): Promise<Holdings> {
  await eventually(
    "every old generation to have ended",
    async () => (await daemon.service()).generations.length === 1,
    60_000,
  );
  const { listeners } = await daemon.status();
  const file = `${daemon.folder}/held`;
  rmSync(file, { force: true });
  daemon.kill("SIGUSR2");
  await eventually("the daemon to have measured itself", () => existsSync(file));
  const held = JSON.parse(readFileSync(file, "utf8")) as Omit<Holdings, "slots">;
  return { ...held, slots: listeners.reduce((sum, { slots }) => sum + slots.length, 0) };
}

const everyGeneration = Array.from({ length: DEPLOYS + 1 }, (_, index) => String(index + 1));

test(
  "100 deploys under new connections and keep-alive lose nothing, and leave the daemon as it was",
  { timeout: 300_000 },
  async () => {
    await using daemon = await startDaemon({ config: configuration("polite.mjs"), ...MEASURED });
    const { target } = addressOf(await daemon.status(), "web");
    const common = { target, rate: 400, seconds: 280 };
    await using fresh = startLoad({ ...common, ...IN_FLIGHT, mode: "new" });
    await using kept = startLoad({ ...common, mode: "keepalive", connections: 16, thinkMs: [0, 20] });
    await Promise.all([fresh.started, kept.started]);

    await deployEach(daemon, 1, 10);
    const early = await holdings(daemon);
    const { descriptors } = daemon;
    await deployEach(daemon, 11, DEPLOYS);
    await fresh.sawGeneration(DEPLOYS + 1);
    const late = await holdings(daemon);
    // Not more: the API's own connection may have been closing when it was counted.
    await eventually("no more descriptors than after run 10", () => daemon.descriptors <= descriptors);

    const reports = await Promise.all([fresh.stop(), kept.stop()]);
    expect(reports.map((report) => ({ ...lost(report), badStatus: report.badStatus }))).toEqual([
      { ...NOTHING, badStatus: 0 },
      { ...NOTHING, badStatus: 0 },
    ]);
    expect(Object.keys(reports[0].generations)).toEqual(expect.arrayContaining(everyGeneration));
    expect({ slots: late.slots, generations: late.generations }).toEqual({
      slots: early.slots,
      generations: 1,
    });
    // The last hundred deploys and the last thousand events are remembered: some KiB for each of these deploys.
    expect(late.heapKiB).toBeLessThan(early.heapKiB + 3 * 1024);
    expect(late.rssKiB).toBeLessThan(early.rssKiB + 16 * 1024);
  },
);

test.each([
  ["an unmodified Node program", "unmodified.mjs"],
  ["a program of Python's standard library", "stdlib.py"],
])("100 deploys of %s under new connections lose nothing", { timeout: 300_000 }, async (_, application) => {
  await using daemon = await startDaemon({ config: configuration(application) });
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, ...IN_FLIGHT, mode: "new", seconds: 280 });
  await load.started;

  await deployEach(daemon, 1, DEPLOYS);
  await load.sawGeneration(DEPLOYS + 1);

  const report = await load.stop();
  expect({ ...lost(report), badStatus: report.badStatus }).toEqual({ ...NOTHING, badStatus: 0 });
  expect(Object.keys(report.generations)).toEqual(expect.arrayContaining(everyGeneration));
});

test("npm's systemd-notify, which speaks from a short-lived child, makes an instance ready", async () => {
  await using daemon = await startDaemon({
    config: configuration("notify-by-child.mjs", { ready: { by: "notify", timeout: "20s" } }),
  });
  const deploy = await daemon.deploy("v1");
  expect({ phase: deploy.phase, reason: deploy.reason }).toEqual({ phase: "succeeded", reason: null });
});
