/** What the tests under a real systemd share: one listener, one service, and clients. */
import { expect } from "vitest";
import type { Config } from "../support/daemon.ts";
import { lost } from "../support/load.ts";
import { NOTHING } from "../support/stage.ts";
import { Box, commandInBox } from "../support/systemd-box/box.ts";
import { type SystemdVersion, whyNoBox } from "../support/systemd-box/root.ts";
import { Unit } from "../support/systemd-box/unit.ts";

export const TARGET = "127.0.0.1:8080";
/** The first one on a machine builds what is booted. */
export const BOOT_MS = 400_000;

/** A box with the unit installed and not started. Whoever asks disposes of the box. */
export async function installed(version: SystemdVersion): Promise<Unit> {
  const why = whyNoBox();
  if (why !== null) throw new Error(why);
  const box = await Box.boot(version);
  try {
    const unit = await Unit.install(box, version < 254 ? [] : ["10-systemd-254.conf"]);
    unit.configure(configuration());
    return unit;
  } catch (error) {
    await box[Symbol.asyncDispose]();
    throw error;
  }
}

/** `service` adds to it or replaces. */
export function configuration(service: Record<string, unknown> = {}, address = `tcp:${TARGET}`) {
  return {
    listeners: { web: { address } },
    services: {
      api: {
        command: commandInBox("polite.mjs"),
        version: "v1",
        listeners: ["web"],
        instances: 2,
        deploy: { bake: "50ms" },
        drain: { timeout: "20s" },
        ...service,
      },
    },
  };
}

/** The unit as it is packaged, with this configuration, running. For one scenario after another in one box. */
export async function startAnew(
  unit: Unit,
  config: Config = configuration(),
  override: string | null = null,
): Promise<void> {
  await unit.box.tried("systemctl", "stop", "handoffd.service", "handoffd.socket");
  await unit.box.tried("systemctl", "reset-failed");
  await unit.override(override);
  unit.configure(config);
  await unit.systemctl("start");
  await unit.untilRunning();
}

/** New connections and kept ones, while `act` happens: none of them loses anything. */
export async function unnoticed(unit: Unit, act: () => Promise<void>): Promise<void> {
  await unit.untilRunning();
  await using fresh = unit.load({ target: TARGET, mode: "new", connections: 8, rate: 300 });
  await using kept = unit.load({
    target: TARGET,
    mode: "keepalive",
    connections: 8,
    thinkMs: [0, 20],
    rate: 300,
  });
  await Promise.all([fresh.started, kept.started]);
  await act();
  const reports = await Promise.all([fresh.stop(), kept.stop()]);
  expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING]);
}

/** The instances run on, the daemon is another one. */
export async function expectAdopted(unit: Unit, instances: readonly number[], before: number): Promise<void> {
  const { pid } = await unit.untilRunning(before);
  expect(pid).not.toBe(before);
  expect(await unit.instances()).toEqual(instances);
  const { generations } = await unit.service();
  expect(generations.flatMap((each) => each.instances.map(({ restarts }) => restarts))).toEqual([0, 0]);
}
