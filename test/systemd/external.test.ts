/** systemd starts the processes, handoffd deploys them: the template unit as it is packaged. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "../support/paths.ts";
import { eventually } from "../support/processes.ts";
import { commandInBox } from "../support/systemd-box/box.ts";
import type { Unit } from "../support/systemd-box/unit.ts";
import { BOOT_MS, configuration, installed, startAnew, unnoticed } from "./scenario.ts";

const TEMPLATE = "/etc/systemd/system/app@.service";
const LAUNCHER = "/usr/lib/handoffd/build/Release/handoff-exec";

let unit: Unit;
beforeAll(async () => {
  unit = await installed(257);
  const { box } = unit;
  box.write(TEMPLATE, readFileSync(`${root}/packaging/systemd/app@.service`, "utf8"));
  box.write("/etc/sysusers.d/app.conf", "u app -\n");
  await box.run("systemd-sysusers");
  await box.run("mkdir", "-p", "/usr/lib/handoffd/build/Release");
  await box.run("ln", "-s", "/opt/handoffd/build/Release/handoff-exec", LAUNCHER);
  // The service of the other tests' name, and their program.
  const command = commandInBox("polite.mjs").join(" ");
  box.write(
    `${TEMPLATE}.d/50-test.conf`,
    `[Service]\nExecStart=\nExecStart=${LAUNCHER} --service api --place %i -- ${command}\n`,
  );
  await startAnew(unit, configuration({ command: undefined, external: external() }));
}, BOOT_MS);
afterAll(async () => {
  await unit.box[Symbol.asyncDispose]();
});

function external() {
  return {
    allow: { user: "app" },
    start: ["systemctl", "start", "app@{generation}-{instance}.service"],
  };
}

/** The units that are active, by what stands behind the @. */
async function active(): Promise<string[]> {
  const words = ["list-units", "--no-legend", "--plain", "--state=active", "app@*.service"];
  const lines = (await unit.box.run("systemctl", ...words)).trim().split("\n");
  return lines.flatMap((line) => /^app@(\S+)\.service/u.exec(line)?.[1] ?? []).sort();
}

const mainPid = async (place: string): Promise<number> =>
  Number(await unit.box.show(`app@${place}.service`, "MainPID"));

test("systemd has nothing to say against the template", async () => {
  const { stdout, stderr } = await unit.box.tried("systemd-analyze", "verify", TEMPLATE);
  expect(stdout + stderr).toBe("");
});

test("systemd starts each instance as its user, and nobody notices that handoffd deploys them", async () => {
  await unnoticed(unit, async () => {
    expect(await active()).toEqual(["1-1", "1-2"]);
    expect(await unit.instances()).toEqual([await mainPid("1-1"), await mainPid("1-2")]);
    for (const version of ["v2", "v3"]) expect((await unit.deploy(version)).phase).toBe("succeeded");
    await eventually("the last generation alone", async () => (await active()).join(" ") === "3-1 3-2");
  });
  const [pid = 0] = await unit.instances();
  expect(await unit.box.run("stat", "-c", "%U", `/proc/${pid}`)).toBe("app\n");
});

test("systemctl restart of handoffd, or its death, ends none of them", async () => {
  await unnoticed(unit, async () => {
    const instances = await unit.instances();
    for (const end of ["restart", "kill"] as const) {
      const before = await unit.mainPid();
      if (end === "restart") await unit.systemctl("restart");
      else await unit.box.run("kill", "-KILL", String(before));
      await unit.untilRunning(before);
      expect(await unit.instances()).toEqual(instances);
    }
    expect((await unit.deploy("v4")).phase).toBe("succeeded");
  });
});

test("one that crashes is started by systemd again, and systemctl stop of handoffd drains them all", async () => {
  const [pid = 0] = await unit.instances();
  await unit.box.run("kill", "-KILL", String(pid));
  await eventually("another one", async () => {
    const { generations, state } = await unit.service();
    const [first] = generations.at(-1)?.instances ?? [];
    return state === "running" && first?.restarts === 1 && first.pid !== pid;
  });
  expect(await unit.instances()).toEqual([await mainPid("4-1"), await mainPid("4-2")]);
  await unit.systemctl("stop");
  expect(await active()).toEqual([]);
  expect(await unit.box.run("journalctl", "-o", "cat", "--no-pager", "-u", "app@4-2.service")).toContain(
    "Deactivated successfully",
  );
});
