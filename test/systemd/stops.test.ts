/** How the unit ends, and what is left then. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { lost } from "../support/load.ts";
import { eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";
import { commandInBox } from "../support/systemd-box/box.ts";
import type { Unit } from "../support/systemd-box/unit.ts";
import { BOOT_MS, configuration, expectAdopted, installed, startAnew, TARGET } from "./scenario.ts";

let unit: Unit;
beforeAll(async () => {
  unit = await installed(257);
}, BOOT_MS);
afterAll(async () => {
  await unit.box[Symbol.asyncDispose]();
});

/** Whether one of these processes of the box runs. */
async function someRun(pids: readonly number[]): Promise<boolean> {
  return (await unit.box.tried("kill", "-0", ...pids.map(String))).code === 0;
}

test("systemctl stop lets requests end that take longer than TimeoutStopSec=, and leaves nothing", async () => {
  await startAnew(unit, configuration(), "TimeoutStopSec=1s");
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
  const stubborn = configuration({ command: commandInBox("ignores-sigterm.mjs") });
  await startAnew(unit, stubborn, "TimeoutStopSec=1s");
  const instances = await unit.instances();
  expect(instances).toHaveLength(2);
  await unit.systemctl("stop", "--no-block");
  await eventually("the daemon to drain", async () => (await unit.show("SubState")) === "stop-sigterm");
  await unit.box.run("kill", "-STOP", String(await unit.mainPid()));
  await eventually("the unit's end", async () => (await unit.show("ActiveState")) === "failed", 60_000);
  expect(await unit.show("Result")).toBe("timeout");
  expect(await unit.others()).toEqual([]);
  expect(await someRun(instances)).toBe(false);
});

test("systemctl stop between a crash and the automatic restart ends the applications", async () => {
  await startAnew(unit, configuration(), "RestartSec=10s");
  const instances = await unit.instances();
  await unit.box.run("kill", "-KILL", String(await unit.mainPid()));
  await eventually("the wait for the restart", async () => (await unit.show("SubState")) === "auto-restart");
  expect(await unit.others()).toEqual(expect.arrayContaining(instances));
  await unit.systemctl("stop");
  await eventually("their end", async () => !(await someRun(instances)));
});

/** The new image of an upgrade stops before its first line, where no handler is there yet, until `/run/window` is removed. */
const WINDOW = `
  import { existsSync, writeFileSync } from "node:fs";
  if (process.env.HANDOFFD_UPGRADE !== undefined) {
    writeFileSync("/run/window.entered", "");
    while (existsSync("/run/window")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
`;

async function untilInWindow(): Promise<void> {
  unit.box.write("/etc/window.mjs", WINDOW);
  await startAnew(unit, configuration(), 'Environment="NODE_OPTIONS=--import=/etc/window.mjs"');
  unit.box.write("/run/window", "");
  await unit.beginUpgrade();
  await eventually(
    "the window",
    async () => (await unit.box.tried("test", "-e", "/run/window.entered")).code === 0,
  );
  unit.box.remove("/run/window.entered");
}

test("systemctl stop within the exec window of an upgrade ends the daemon at once, and its applications after it", async () => {
  await untilInWindow();
  const instances = await eventually("instances", async () => {
    const others = await unit.others();
    return others.length === 2 && others;
  });
  await unit.systemctl("stop");
  expect(await unit.show("Result")).toBe("success");
  expect(await unit.others()).toEqual([]);
  expect(await someRun(instances)).toBe(false);
  unit.box.remove("/run/window");
});

test("systemctl restart within it is as any restart: nobody notices, and the applications run on", async () => {
  await untilInWindow();
  unit.box.remove("/run/window.entered");
  const instances = await unit.others();
  const common = { target: TARGET, connections: 4, rate: 200 } as const;
  await using fresh = unit.load({ ...common, mode: "new" });
  await using kept = unit.load({ ...common, mode: "keepalive", thinkMs: [0, 20] });
  await Promise.all([fresh.started, kept.started]);
  const before = await unit.mainPid();
  await unit.systemctl("restart");
  unit.box.remove("/run/window");
  await expectAdopted(unit, instances, before);
  expect((await Promise.all([fresh.stop(), kept.stop()])).map((report) => lost(report))).toEqual([
    NOTHING,
    NOTHING,
  ]);
});

test("systemctl stop and start with FileDescriptorStorePreserve=yes refuse nobody: who connects in between waits", async () => {
  await startAnew(unit, configuration(), "FileDescriptorStorePreserve=yes");
  await unit.box.run("systemctl", "enable", "handoffd.service"); // Else systemd forgets the unit, and its store.
  const patient = { lateMs: 60_000, timeoutMs: 60_000 };
  await using fresh = unit.load({ target: TARGET, mode: "new", connections: 8, rate: 100, ...patient });
  await fresh.started;
  await unit.systemctl("stop");
  expect(await unit.others()).toEqual([]);
  // The listeners' clients wait; whoever asks the daemon learns at once that there is none.
  expect((await unit.box.tried("handoffctl", "status")).code).toBe(3);
  await unit.systemctl("start");
  const { current } = (await unit.untilRunning()).services[0] ?? {};
  await fresh.sawGeneration(current ?? 0);
  expect(lost(await fresh.stop())).toEqual(NOTHING);
});

test("an address that was changed while the unit was stopped is the new one, also where systemd has kept the old", async () => {
  await startAnew(unit, configuration(), "FileDescriptorStorePreserve=yes");
  await unit.systemctl("stop");
  const moved = "127.0.0.1:8090";
  unit.configure(configuration({}, `tcp:${moved}`));
  await unit.systemctl("start");
  expect((await unit.untilRunning()).listeners).toMatchObject([{ address: moved }]);
  await using here = unit.load({ target: moved, mode: "new", connections: 1, requests: 3 });
  expect(lost(await here.done)).toEqual(NOTHING);
  await using gone = unit.load({ target: TARGET, mode: "new", connections: 1, requests: 3 });
  expect(lost(await gone.done)).toEqual({ ...NOTHING, refused: 3 });
});

test("a soft-reboot with FileDescriptorStorePreserve=yes refuses nobody", async () => {
  await startAnew(unit, configuration(), "FileDescriptorStorePreserve=yes");
  const patient = { lateMs: 60_000, timeoutMs: 60_000 };
  const before = await unit.untilRunning();
  // The clients are outside of the box' processes, as those of another host.
  await using fresh = unit.load({ target: TARGET, mode: "new", connections: 8, rate: 100, ...patient });
  await fresh.started;
  await unit.box.tried("systemctl", "soft-reboot");
  const after = await unit.untilRunning(before.pid);
  expect(await unit.box.run("systemctl", "show", "-P", "SoftRebootsCount")).toBe("1\n");
  expect(after.services[0]?.generations).toMatchObject([{ state: "serving" }]);
  await fresh.sawGeneration(after.services[0]?.current ?? 0);
  expect(lost(await fresh.stop())).toEqual(NOTHING);
});

test("systemctl stop without that ends with refused connections, not with connections that hang", async () => {
  await startAnew(unit);
  await unit.systemctl("stop");
  await using late = unit.load({ target: TARGET, mode: "new", connections: 1, requests: 3 });
  expect(lost(await late.done)).toEqual({ ...NOTHING, refused: 3 });
  expect(await unit.show("NFileDescriptorStore")).toBe("0");
});
