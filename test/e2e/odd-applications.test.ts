/** Applications that do what few do: take an address for themselves, or are ready at once. */
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Config, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask } from "../support/net.ts";
import { commandOf, root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { environment, eventually, start } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";

function configuration(service: Config, address = "tcp:127.0.0.1:0"): Config {
  return {
    listeners: { web: { address } },
    services: { api: { version: "v0", listeners: ["web"], deploy: { bake: "50ms" }, ...service } },
  };
}

/** A shell command that becomes the fixture. */
function become(name: string): string {
  return `exec ${commandOf(name).join(" ")}`;
}

test("a candidate that binds a narrower address beside ours and says READY=1 fails, and its slot meets no user", async () => {
  const odd = `odd) export BIND_ADDRESS=127.0.0.1:$(cat {dir}/port); ${become("binds-our-port.py")};;`;
  const script = `case $HANDOFF_VERSION in ${odd} esac; ${become("notify-by-child.mjs")}`;
  await using daemon = await startDaemon({
    config: configuration(
      {
        command: ["/bin/sh", "-c", script],
        ready: { by: "notify", timeout: "3s" },
        drain: { timeout: "2s" },
      },
      "tcp:0.0.0.0:0",
    ),
  });
  const { port } = addressOf(await daemon.status(), "web");
  writeFileSync(`${daemon.folder}/port`, String(port));
  // Another of the host's addresses: the kernel itself gives 127.0.0.1 to whoever has bound exactly that.
  const where = { host: "127.0.0.2", port };
  await using load = startLoad({ target: `127.0.0.2:${port}`, mode: "new", connections: 4, rate: 200 });
  await load.started;
  const deploy = await daemon.deploy("odd");
  expect(deploy).toMatchObject({ phase: "failed", reason: { code: "DEPLOY_VERIFY_FAILED" } });
  expect(deploy.phases.map(({ phase }) => phase)).toEqual(["starting", "verifying", "failed"]);
  expect(deploy.reason?.message).toMatch(new RegExp(`pid \\d+ \\(python3[^)]*\\) listens on \\S*:${port}`));
  await daemon.until("its end", ({ services }) => services[0]?.generations.length === 1);
  expect(await ask(where)).toMatchObject({ status: 200, generation: 1 });
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded", reason: null });
  await load.sawVersion("v1");
  const report = await load.stop();
  expect({ lost: lost(report), versions: Object.keys(report.versions) }).toEqual({
    lost: NOTHING,
    versions: ["v0", "v1"],
  });
});

test("a first start that fails again and again leaves no connection, takes no further slot and costs no time", async () => {
  const script = `[ -e {dir}/bad ] && ${become("binds-own-port.mjs")}; ${become("polite.mjs")}`;
  await using daemon = await startDaemon({
    config: configuration({
      command: ["/bin/sh", "-c", script],
      ready: { by: "listening", timeout: "500ms" },
      drain: { settle: "100ms", timeout: "2s" },
      restart: { backoff: "1s..2s" },
    }),
  });
  await daemon.stop();
  writeFileSync(`${daemon.folder}/bad`, "");
  // Not daemon.restart(): that asks all the time whether it is ready.
  const log = openSync(`${daemon.folder}/stdout`, "a");
  const { pid } = start(process.execPath, [`${root}/bin/handoffd`, "run", "-c", daemon.configFile], {
    env: environment(),
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  const phases = (phase: string) =>
    daemon.log().filter((line) => line["msg"] === "deploy.phase" && line["phase"] === phase).length;
  const begun = phases("starting");
  await eventually("two failures", () => phases("failed") === 2, 20_000);
  await eventually("no generation", async () => (await daemon.service()).generations.length === 0);
  expect(phases("starting")).toBe(begun + 2);
  const { slots } = (await daemon.status()).listeners[0] ?? { slots: [] };
  expect(slots.map(({ queue }) => queue?.length)).toEqual([0, 0]);
  const [usedMs, since] = [cpuMs(pid), performance.now()];
  await eventually("a third attempt", () => phases("starting") === begun + 3);
  expect((cpuMs(pid) - usedMs) / (performance.now() - since)).toBeLessThan(0.05);
});

/** utime and stime (proc(5)), of which there are a hundred a second. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

test("applications that are ready after no delay at all become ready, at the start and when they are deployed", async () => {
  await using daemon = await startDaemon({
    config: configuration({ command: commandOf("polite.mjs"), ready: { by: "delay", after: "0s" } }),
  });
  expect((await daemon.service()).generations).toMatchObject([
    { state: "serving", instances: [{ restarts: 0 }] },
  ]);
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded", reason: null });
});

test("an application that closes whatever does not speak is seen to accept all the same", async () => {
  await using daemon = await startDaemon({
    config: configuration({
      command: [...commandOf("closes-at-once.py")],
      ready: { by: "listening", timeout: "3s" },
      drain: { timeout: "2s" },
    }),
  });
  for (let version = 1; version <= 2; version++) {
    expect(await daemon.deploy(`v${version}`)).toMatchObject({ phase: "succeeded", reason: null });
  }
});
