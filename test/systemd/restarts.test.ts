/** The daemon's life under a real systemd, seen by clients: what is restarted, what is not, and what is lost. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { lost, type Load } from "../support/load.ts";
import { eventually } from "../support/processes.ts";
import { Box, commandInBox } from "../support/systemd-box/box.ts";
import { whyNoBox } from "../support/systemd-box/root.ts";
import { Unit } from "../support/systemd-box/unit.ts";
import { NOTHING } from "../support/stage.ts";

let box: Box;
let unit: Unit;

beforeAll(async () => {
  const why = whyNoBox();
  if (why !== null) throw new Error(why);
  box = await Box.boot(257);
  unit = await Unit.install(box, ["systemd-254.conf"]);
  unit.configure({
    listeners: { web: { address: "tcp:127.0.0.1:8080" } },
    services: {
      api: {
        command: commandInBox("polite.mjs"),
        version: "v1",
        listeners: ["web"],
        instances: 2,
        deploy: { bake: "50ms" },
        drain: { timeout: "20s" },
      },
    },
  });
  await unit.systemctl("start");
}, 400_000);
afterAll(async () => {
  await box[Symbol.asyncDispose]();
});

/** New connections and kept ones, while `act` happens. What was lost, by kind, of each. */
async function underLoad(act: () => Promise<void>): Promise<void> {
  await unit.untilRunning();
  const target = "127.0.0.1:8080";
  await using fresh = unit.load({ target, mode: "new", connections: 8, rate: 300 });
  await using kept = unit.load({ target, mode: "keepalive", connections: 8, thinkMs: [0, 20], rate: 300 });
  await Promise.all([fresh.started, kept.started]);
  await act();
  const reports = await Promise.all([fresh, kept].map((load: Load) => load.stop()));
  expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING]);
}

test("systemctl start returns when the daemon is up, and says by whom the sockets are held", async () => {
  expect(await unit.show("ActiveState")).toBe("active");
  await unit.untilRunning();
  expect(Number(await unit.show("NFileDescriptorStore"))).toBeGreaterThanOrEqual(3);
  expect(await unit.others()).toEqual(expect.arrayContaining(await unit.instances()));
  await eventually("a status", async () =>
    /^api running generation 1, version v1; 1 listener$/u.test(await unit.show("StatusText")),
  );
});

test("a daemon killed by SIGKILL comes back by itself, nobody notices, and no instance is restarted", async () => {
  await underLoad(async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await box.run("kill", "-KILL", String(before));
    const { pid, services } = await unit.untilRunning(before);
    expect(pid).not.toBe(before);
    expect(services[0]?.generations).toMatchObject([
      { number: 1, instances: [{ restarts: 0 }, { restarts: 0 }] },
    ]);
    expect(await unit.instances()).toEqual(instances);
    expect((await unit.deploy("v2")).phase).toBe("succeeded");
  });
});

test("systemctl restart replaces the daemon alone: nobody notices, and no instance is restarted", async () => {
  await underLoad(async () => {
    const instances = await unit.instances();
    const before = await unit.mainPid();
    await unit.systemctl("restart");
    await unit.untilRunning(before);
    expect(await unit.instances()).toEqual(instances);
    expect((await unit.deploy("v3")).phase).toBe("succeeded");
  });
});
