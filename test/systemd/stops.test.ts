/** How the unit ends, and what is left then. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { lost } from "../support/load.ts";
import { eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";
import { Box, commandInBox } from "../support/systemd-box/box.ts";
import { whyNoBox } from "../support/systemd-box/root.ts";
import { Unit } from "../support/systemd-box/unit.ts";

const TARGET = "127.0.0.1:8080";
let box: Box;
let unit: Unit;

beforeAll(async () => {
  const why = whyNoBox();
  if (why !== null) throw new Error(why);
  box = await Box.boot(257);
  unit = await Unit.install(box, ["systemd-254.conf"]);
}, 400_000);
afterAll(async () => {
  await box[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await box.tried("systemctl", "stop", "handoffd.service");
  await box.tried("systemctl", "reset-failed");
  await unit.override(null);
  unit.configure(configuration());
});

function configuration(service: Record<string, unknown> = {}, address = `tcp:${TARGET}`) {
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

async function started(): Promise<void> {
  await unit.systemctl("start");
  await unit.untilRunning();
}

test("systemctl stop lets requests end that take longer than TimeoutStopSec=, and leaves nothing", async () => {
  await unit.override("TimeoutStopSec=1s");
  await started();
  await using slow = unit.load({
    target: TARGET,
    mode: "new",
    connections: 4,
    requests: 4,
    path: "/slow?ms=4000",
    timeoutMs: 20_000,
    lateMs: 20_000,
  });
  await eventually(
    "requests under way",
    async () => (await unit.service()).generations[0]?.connections === 4,
  );
  await unit.systemctl("stop");
  expect(lost(await slow.done)).toEqual(NOTHING);
  expect(await unit.others()).toEqual([]);
  expect(await unit.show("Result")).toBe("success");
});

test("systemctl stop of a daemon that hangs ends its applications too", async () => {
  await unit.override("TimeoutStopSec=1s");
  unit.configure(configuration({ command: commandInBox("ignores-sigterm.mjs") }));
  await started();
  const instances = await unit.instances();
  expect(instances).toHaveLength(2);
  await unit.systemctl("stop", "--no-block");
  await eventually("the daemon to drain", async () => (await unit.show("SubState")) === "stop-sigterm");
  await box.run("kill", "-STOP", String(await unit.mainPid()));
  await eventually("the unit's end", async () => (await unit.show("ActiveState")) === "failed", 60_000);
  expect(await unit.show("Result")).toBe("timeout");
  expect(await unit.others()).toEqual([]);
  expect((await box.tried("kill", "-0", ...instances.map(String))).code).not.toBe(0);
});

test("systemctl stop between a crash and the automatic restart ends the applications", async () => {
  await unit.override("RestartSec=10s");
  await started();
  const instances = await unit.instances();
  await box.run("kill", "-KILL", String(await unit.mainPid()));
  await eventually("the wait for the restart", async () => (await unit.show("SubState")) === "auto-restart");
  expect(await unit.others()).toEqual(expect.arrayContaining(instances));
  await unit.systemctl("stop");
  await eventually(
    "their end",
    async () => (await box.tried("kill", "-0", ...instances.map(String))).code !== 0,
  );
});
