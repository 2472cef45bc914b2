/** What of the daemon ends and begins again under systemd 257, and that nobody notices: clients do not, instances are not restarted. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mintToken } from "../../admin-api/tokens.ts";
import { lost } from "../support/load.ts";
import { root } from "../support/paths.ts";
import { eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";
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
  // Two slots, a notify socket and a channel of each instance, the admin socket.
  expect(Number(await unit.show("NFileDescriptorStore"))).toBe(7);
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

test("systemctl reload returns when the new configuration holds, in the same process; a wrong one is refused in the status", async () => {
  const before = await unit.mainPid();
  const { listeners, services } = configuration();
  unit.configure({ services, listeners: { web: { ...listeners.web, backlog: 777 } } });
  await unnoticed(unit, () => unit.systemctl("reload"));
  // At once: systemctl has waited for the READY=1 behind RELOADING=1.
  const limits = async () =>
    (await unit.status()).listeners.flatMap(({ slots }) => slots.map(({ queue }) => queue?.limit));
  expect(new Set(await limits())).toEqual(new Set([777]));
  unit.configure({ services, listeners: { web: { address: "tcp:127.0.0.1:9" } } });
  await unit.systemctl("reload");
  expect(await unit.show("StatusText")).toMatch(/^not reloaded, the old configuration holds: .*web/u);
  expect(new Set(await limits())).toEqual(new Set([777]));
  expect(await unit.mainPid()).toBe(before);
  expect(await unit.show("Result")).toBe("success");
  unit.configure(configuration());
  await unit.systemctl("reload");
});

test("an upgrade in place is no event to systemd: the same main process, active, with the same store", async () => {
  await unnoticed(unit, async () => {
    const facts = ["MainPID", "ActiveState", "SubState", "NRestarts", "NFileDescriptorStore"];
    const seen = () => Promise.all(facts.map((fact) => unit.show(fact)));
    const [instances, before] = [await unit.instances(), await seen()];
    for (const upgrades of [1, 2]) {
      await unit.beginUpgrade();
      await eventually("the new image", async () => (await unit.status()).upgrades === upgrades);
    }
    expect(await seen()).toEqual(before);
    expect(await unit.instances()).toEqual(instances);
    // It is still the one that systemd listens to, and that its store belongs to.
    await unit.systemctl("reload");
    expect((await unit.deploy("v3")).phase).toBe("succeeded");
    const [adopted, first] = [await unit.instances(), await unit.mainPid()];
    await kill("KILL", first);
    await expectAdopted(unit, adopted, first);
  });
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

test("who speaks to the API while systemd starts the next daemon waits for it, by unix socket and by TCP", async () => {
  const http = { address: "127.0.0.1:9700", tokens: "/etc/handoffd/tokens" };
  unit.box.write(http.tokens, `${mintToken({ name: "ci", role: "read" }).line}\n`, 0o600);
  await startAnew(unit, { ...configuration(), admin: { http } }, "RestartSec=1s");
  const common = { mode: "new", path: "/healthz", connections: 2, rate: 100 } as const;
  const patient = { ...common, lateMs: 30_000, timeoutMs: 30_000 };
  const clients = async (act: () => Promise<void>) => {
    await using local = unit.load({ ...patient, target: unit.socket });
    await using remote = unit.load({ ...patient, target: http.address });
    await Promise.all([local.started, remote.started]);
    await act();
    return (await Promise.all([local.stop(), remote.stop()])).map((report) => lost(report));
  };
  const restarted = await clients(async () => {
    const before = await unit.mainPid();
    await unit.systemctl("restart");
    await unit.untilRunning(before);
  });
  expect(restarted).toEqual([NOTHING, NOTHING]);
  const killed = await clients(async () => {
    const before = await unit.mainPid();
    await kill("KILL", before);
    await unit.untilRunning(before);
  });
  // What a killed process had accepted nobody can answer: one request of each client at most.
  for (const { refused, reset, cut, late } of killed) {
    expect({ refused, late }).toEqual({ refused: 0, late: 0 });
    expect(reset + cut).toBeLessThanOrEqual(common.connections);
  }
});

test("the API of a daemon that cannot be started again refuses its clients, and does not let them wait", async () => {
  await startAnew(unit);
  unit.box.write("/etc/handoffd/handoffd.yaml", "listeners: 1\n");
  await unit.box.tried("systemctl", "restart", "handoffd.service");
  const { code, stderr } = await unit.box.tried("handoffctl", "status");
  expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining("reach") as string });
  expect(await unit.tail()).toContain("listeners: 1 is a number");
  // The sockets of the listeners are kept for the one that can.
  expect(Number(await unit.show("NFileDescriptorStore"))).toBe(6);
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
