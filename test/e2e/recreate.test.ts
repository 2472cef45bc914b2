/** Never two generations at once: those who connect meanwhile wait in the kernel, and are answered by whoever comes. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { NOTHING } from "../support/stage.ts";

const BOOT_MS = 3000;

function alone(more: Config = {}, environment: Config = {}, address?: string): Config {
  return oneService(
    {
      command: commandOf("alone.py"),
      environment: {
        BOOT_MS: String(BOOT_MS),
        LOCK: "{dir}/lock",
        OVERLAPS: "{dir}/overlaps",
        ...environment,
      },
      deploy: { strategy: "recreate", bake: "0s" },
      ...more,
    },
    address,
  );
}

function overlaps(daemon: Daemon): boolean {
  return existsSync(`${daemon.folder}/overlaps`);
}

test.each(["tcp:127.0.0.1:0", "unix:{dir}/app.sock"])(
  "%s: an application that takes 3 s to start is recreated under load, alone at every instant, and nobody is refused",
  { timeout: 90_000 },
  async (address) => {
    await using daemon = await startDaemon({ config: alone({}, {}, address) });
    const { target } = addressOf(await daemon.status(), "web");
    await using load = startLoad({ target, mode: "new", connections: 64, lateMs: 20_000 });
    await load.started;
    for (const version of ["v1", "v2"]) {
      expect(await daemon.deploy(version)).toMatchObject({ phase: "succeeded", reason: null });
      await load.sawVersion(version);
    }
    const report = await load.stop();
    expect(lost(report)).toEqual(NOTHING);
    expect(report.latencyMs.max).toBeGreaterThan(BOOT_MS - 100);
    expect(Object.keys(report.generations)).toEqual(["1", "2", "3"]);
    expect(overlaps(daemon)).toBe(false);
  },
);

test("a release that cannot start is followed by the one before, on the slot that holds the queue", async () => {
  await using daemon = await startDaemon({ config: alone({}, { BOOT_MS: "300", FAILS_AS: "bad" }) });
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "new", connections: 64, lateMs: 15_000 });
  await load.started;
  const deploy = await daemon.deploy("bad");
  expect(deploy).toMatchObject({ phase: "rolled-back", from: 1, to: 2 });
  expect(deploy.reason?.message).toContain("exited with status 1");
  await load.sawGeneration(3);
  const service = await daemon.service();
  expect(service).toMatchObject({ state: "running", current: 3, candidate: null, previous: null });
  expect(service.generations).toMatchObject([{ number: 3, version: "v0", state: "serving", weight: 1 }]);
  // It is not tried again by itself, and the next good one has its turn.
  expect((await daemon.deploy("good")).phase).toBe("succeeded");
  await load.sawVersion("good");
  const report = await load.stop();
  expect(lost(report)).toEqual(NOTHING);
  expect(Object.keys(report.versions).sort()).toEqual(["good", "v0"]);
  expect(overlaps(daemon)).toBe(false);
});

test(
  "a daemon that dies in the middle of it goes on where it was, and nobody is refused",
  { timeout: 90_000 },
  async () => {
    await using daemon = await startDaemon({ config: alone() });
    const { target } = addressOf(await daemon.status(), "web");
    await using load = startLoad({ target, mode: "new", connections: 32, lateMs: 20_000 });
    await load.started;
    const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" });
    const { id } = json as { id: string };
    await daemon.until("the candidate's process", ({ services }) => {
      return (
        services[0]?.generations.some(({ number, instances }) => number === 2 && instances.length > 0) ===
        true
      );
    });
    await daemon.stop("SIGKILL");
    await daemon.restart();
    expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "succeeded", reason: null });
    await load.sawVersion("v1");
    expect((await daemon.deploy("v2")).phase).toBe("succeeded");
    await load.sawVersion("v2");
    expect(lost(await load.stop())).toEqual(NOTHING);
    expect(overlaps(daemon)).toBe(false);
  },
);
