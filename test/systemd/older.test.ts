/** systemd 252: without $FDSTORE nobody says what its store takes, so that handoff-keeper holds the sockets. All else is as with later ones. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "../support/paths.ts";
import type { Unit } from "../support/systemd-box/unit.ts";
import { BOOT_MS, configuration, expectAdopted, installed, unnoticed } from "./scenario.ts";

let unit: Unit;
beforeAll(async () => {
  unit = await installed(252);
  await unit.systemctl("start");
}, BOOT_MS);
afterAll(async () => {
  await unit.box[Symbol.asyncDispose]();
});

test("systemd 252 understands the unit without its drop-in, and starts it", async () => {
  const { stdout, stderr } = await unit.box.tried(
    "systemd-analyze",
    "verify",
    "/etc/systemd/system/handoffd.service",
  );
  expect(stdout + stderr).toBe("");
  expect((await unit.untilRunning()).services).toMatchObject([{ state: "running" }]);
});

test("under systemd 252 a daemon killed by SIGKILL, and one restarted, come back unnoticed", async () => {
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await unit.box.run("kill", "-KILL", String(before));
    await expectAdopted(unit, instances, before);
    const second = await unit.mainPid();
    await unit.systemctl("restart");
    await expectAdopted(unit, instances, second);
  });
});

test("under systemd 252 systemctl reload really reloads, and fails with a configuration that is refused", async () => {
  const { listeners, services } = configuration();
  unit.configure({ services, listeners: { web: { ...listeners.web, backlog: 777 } } });
  await unit.systemctl("reload");
  expect((await unit.status()).listeners[0]?.slots[0]?.queue?.limit).toBe(777);
  unit.box.write("/etc/handoffd/handoffd.yaml", "listeners: 1\n");
  expect((await unit.box.tried("systemctl", "reload", "handoffd.service")).code).not.toBe(0);
  expect((await unit.untilRunning()).services).toMatchObject([{ state: "running" }]);
  unit.configure(configuration());
  await unit.systemctl("reload");
});

test("under systemd 252 a stop leaves nothing, the keeper included", async () => {
  await unit.systemctl("stop");
  expect(await unit.others()).toEqual([]);
  expect(await unit.show("Result")).toBe("success");
});

test("systemd 252 does not know what is in the drop-in for later ones", async () => {
  const name = "10-systemd-254.conf";
  unit.box.write(
    `/etc/systemd/system/handoffd.service.d/${name}`,
    readFileSync(`${root}/packaging/systemd/handoffd.service.d/${name}`, "utf8"),
  );
  const { stderr } = await unit.box.tried(
    "systemd-analyze",
    "verify",
    "/etc/systemd/system/handoffd.service",
  );
  expect(stderr).toContain("FileDescriptorStorePreserve");
});
