/** What systemd gives and what it is told to put around the daemon: sockets, the journal, another user. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { lost } from "../support/load.ts";
import { root } from "../support/paths.ts";
import { eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";
import { commandInBox } from "../support/systemd-box/box.ts";
import type { Unit } from "../support/systemd-box/unit.ts";
import {
  BOOT_MS,
  configuration,
  expectAdopted,
  installed,
  startAnew,
  TARGET,
  unnoticed,
} from "./scenario.ts";

let unit: Unit;
beforeAll(async () => {
  unit = await installed(257);
}, BOOT_MS);
afterAll(async () => {
  await unit.box[Symbol.asyncDispose]();
});

/** The packaged example on our address. `reusePort` as it is, or taken away. */
async function installSocket(reusePort: boolean): Promise<void> {
  const example = readFileSync(`${root}/packaging/systemd/handoffd.socket`, "utf8");
  const text = example.replace("0.0.0.0:8080", TARGET);
  unit.box.write(
    "/etc/systemd/system/handoffd.socket",
    reusePort ? text : text.replace("ReusePort=yes", "ReusePort=no"),
  );
  await unit.box.run("systemctl", "daemon-reload");
}

test("a socket unit starts the daemon with the first connection; bound with ReusePort=yes it is steered", async () => {
  await unit.box.tried("systemctl", "stop", "handoffd.service");
  unit.configure(configuration({}, "systemd:web"));
  await installSocket(true);
  await unit.box.run("systemctl", "start", "handoffd.socket");
  expect(await unit.show("ActiveState")).toBe("inactive");
  await using first = unit.load({
    target: TARGET,
    mode: "new",
    connections: 4,
    requests: 8,
    lateMs: 60_000,
    timeoutMs: 60_000,
  });
  expect(lost(await first.done)).toEqual(NOTHING);
  expect((await unit.untilRunning()).listeners).toMatchObject([{ mode: "steered", address: TARGET }]);
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await unit.box.run("kill", "-KILL", String(before));
    await expectAdopted(unit, instances, before);
    expect((await unit.deploy("v2")).phase).toBe("succeeded");
  });
});

test("a socket unit without ReusePort= makes a shared listener, which survives a restart too", async () => {
  await unit.box.tried("systemctl", "stop", "handoffd.service", "handoffd.socket");
  await installSocket(false);
  await unit.box.run("systemctl", "start", "handoffd.socket", "handoffd.service");
  expect((await unit.untilRunning()).listeners).toMatchObject([{ mode: "shared", address: TARGET }]);
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await unit.systemctl("restart");
    await expectAdopted(unit, instances, before);
  });
});

test("a socket that systemd did not give is named, with those that it gave", async () => {
  await unit.box.tried("systemctl", "stop", "handoffd.service", "handoffd.socket");
  unit.configure(configuration({}, "systemd:other"));
  await unit.box.run("systemctl", "start", "handoffd.socket");
  await unit.box.tried("systemctl", "start", "handoffd.service");
  await eventually("the reason", async () =>
    /systemd gave no socket named \\?"other\\?" \(it gave \\?"web\\?"\)/u.test(await unit.tail()),
  );
  await unit.box.run("systemctl", "stop", "handoffd.service", "handoffd.socket");
  unit.box.remove("/etc/systemd/system/handoffd.socket");
});

test("lines of a service with output: journal are the service's and the instance's", async () => {
  const [node, program] = commandInBox("polite.mjs");
  const says = `echo hello; echo '<3>trouble' >&2; exec ${node} ${program}`;
  await startAnew(unit, configuration({ command: ["/bin/sh", "-c", says], output: "journal" }));
  const lines = await eventually("four lines", async () => {
    const found = await unit.box.run("journalctl", "-t", "api", "-o", "json", "--no-pager");
    const parsed = found
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, string>);
    return parsed.length === 4 && parsed;
  });
  const instances = (await unit.instances()).map(String);
  const of = (message: string) => lines.filter(({ MESSAGE }) => MESSAGE === message);
  expect(
    of("hello")
      .map(({ _PID }) => _PID)
      .sort(),
  ).toEqual([...instances].sort());
  expect(of("hello").map(({ PRIORITY }) => PRIORITY)).toEqual(["6", "6"]);
  expect(of("trouble").map(({ PRIORITY }) => PRIORITY)).toEqual(["3", "3"]);
  expect(new Set(lines.map(({ _SYSTEMD_UNIT }) => _SYSTEMD_UNIT))).toEqual(new Set(["handoffd.service"]));
});

test("a daemon of no privileges comes back, and is replaced, as one of root is", async () => {
  await startAnew(unit, configuration(), "User=nobody\nGroup=nogroup\nCapabilityBoundingSet=");
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const first = await unit.mainPid();
    await unit.box.run("kill", "-KILL", String(first));
    await expectAdopted(unit, instances, first);
    const second = await unit.mainPid();
    await unit.systemctl("restart");
    await expectAdopted(unit, instances, second);
  });
  await unit.systemctl("stop");
  expect(await unit.others()).toEqual([]);
});

// The message bus answers no dynamic user, so that the daemon cannot know that it is a restart.
test("with DynamicUser=yes a killed daemon comes back; a restart drains and starts anew, and nobody is refused", async () => {
  await startAnew(unit, configuration(), "DynamicUser=yes\nCapabilityBoundingSet=");
  const first = await unit.mainPid();
  const uid = await unit.box.run("stat", "-c", "%u", `/proc/${first}`);
  expect(Number(uid)).toBeGreaterThan(60_000);
  const patient = { lateMs: 60_000, timeoutMs: 60_000 };
  await using fresh = unit.load({ target: TARGET, mode: "new", connections: 8, rate: 200, ...patient });
  await fresh.started;
  const instances = await unit.instances();
  await unit.box.run("kill", "-KILL", String(first));
  await expectAdopted(unit, instances, first);
  const second = await unit.mainPid();
  await unit.systemctl("restart");
  const { services } = await unit.untilRunning(second);
  await fresh.sawGeneration(services[0]?.current ?? 0);
  expect(lost(await fresh.stop())).toEqual(NOTHING);
  expect(await unit.instances()).not.toEqual(instances);
});
