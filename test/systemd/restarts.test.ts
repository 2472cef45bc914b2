/** What of the daemon ends and begins again under systemd 257, and that nobody notices: clients do not, instances are not restarted. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "../support/paths.ts";
import { eventually } from "../support/processes.ts";
import type { Unit } from "../support/systemd-box/unit.ts";
import { BOOT_MS, configuration, expectAdopted, installed, startAnew, unnoticed } from "./scenario.ts";

let unit: Unit;
beforeAll(async () => {
  unit = await installed(257);
  await unit.systemctl("start");
}, BOOT_MS);
afterAll(async () => {
  await unit.box[Symbol.asyncDispose]();
});

const kill = (signal: string, pid: number) => unit.box.run("kill", `-${signal}`, String(pid));

test("systemctl start returns when the daemon is up; its status says what runs, and systemd holds the sockets", async () => {
  expect(await unit.show("ActiveState")).toBe("active");
  await unit.untilRunning();
  // Two slots and two notify sockets.
  expect(Number(await unit.show("NFileDescriptorStore"))).toBe(4);
  expect((await unit.others()).sort()).toEqual([...(await unit.instances())].sort());
  await eventually("a status", async () =>
    /^api running generation 1, version v1; 1 listener$/u.test(await unit.show("StatusText")),
  );
});

test("systemd 257 understands the unit, its drop-in, its companion and the example of a socket", async () => {
  const example = readFileSync(`${root}/packaging/systemd/handoffd.socket`, "utf8");
  unit.box.write("/etc/systemd/system/handoffd.socket", example);
  const units = ["handoffd.service", "handoffd-leftovers.service", "handoffd.socket"];
  const files = units.map((name) => `/etc/systemd/system/${name}`);
  const { stdout, stderr } = await unit.box.tried("systemd-analyze", "verify", ...files);
  unit.box.remove("/etc/systemd/system/handoffd.socket");
  expect(stdout + stderr).toBe("");
  // What docs/operations.md says, times ten.
  const score = ["security", "--offline=true", "--threshold=87", "--no-pager"];
  await unit.box.run("systemd-analyze", ...score, "/etc/systemd/system/handoffd.service");
});

test("a daemon killed by SIGKILL comes back by itself, and the next deploy works", async () => {
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await kill("KILL", before);
    await expectAdopted(unit, instances, before);
    expect((await unit.deploy("v2")).phase).toBe("succeeded");
  });
});

test("systemctl restart replaces the daemon alone", async () => {
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await unit.systemctl("restart");
    await expectAdopted(unit, instances, before);
  });
});

test("systemctl reload returns when the daemon has answered, which stays the same process", async () => {
  const before = await unit.mainPid();
  await unnoticed(unit, () => unit.systemctl("reload"));
  expect(await unit.mainPid()).toBe(before);
  expect(await unit.show("Result")).toBe("success");
});

test("systemctl daemon-reexec keeps the sockets: a daemon killed after it comes back with them", async () => {
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await unit.box.run("systemctl", "daemon-reexec");
    expect(await unit.mainPid()).toBe(before);
    await kill("KILL", before);
    await expectAdopted(unit, instances, before);
  });
});

test("a daemon whose event loop does not turn is killed by the watchdog and comes back", async () => {
  await unit.override("WatchdogSec=1s");
  await unit.systemctl("restart");
  await unit.untilRunning();
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await kill("STOP", before);
    await expectAdopted(unit, instances, before);
    expect(await unit.tail()).toContain("Watchdog timeout");
  });
  await unit.override(null);
});

test("a store that is too small is said to be, and handoff-keeper holds everything instead", async () => {
  await startAnew(unit, configuration(), "FileDescriptorStoreMax=2");
  expect(await unit.tail()).toContain("KEEPER_FULL");
  await eventually("an empty store", async () => (await unit.show("NFileDescriptorStore")) === "0");
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await kill("KILL", before);
    await expectAdopted(unit, instances, before);
  });
  // Back to a store that is large enough, over a restart: what handoff-keeper holds moves there, and it ends.
  await unit.override(null);
  const before = await unit.mainPid();
  const instances = await unit.instances();
  await unit.systemctl("restart");
  await expectAdopted(unit, instances, before);
  expect((await unit.others()).sort()).toEqual([...instances].sort());
});
