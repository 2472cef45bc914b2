/** The daemon is replaced while it runs, or is not and goes on. */
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { choose, install } from "../support/package.ts";
import { addressOf } from "../support/ports.ts";
import { eventually, killOne } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";
import { upgradeOften } from "../support/upgrades.ts";

function temporaryFolder(): string {
  const folder = mkdtempSync(`${tmpdir()}/upgrade-`);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A daemon whose program is reached by a symlink; what it points to is the test's. */
async function installed(service: Config = {}): Promise<{ folder: string; daemon: Daemon }> {
  const folder = temporaryFolder();
  install(folder, "1.0.0");
  choose(folder, "1.0.0");
  const program = `${folder}/current/bin/handoffd`;
  return { folder, daemon: await startDaemon({ config: oneService(service), program }) };
}

async function eventsSince(daemon: Daemon, id: number): Promise<readonly (readonly [string, number])[]> {
  const { json } = await daemon.api("GET", "/v1/events?follow=false", undefined, {
    "last-event-id": String(id),
  });
  const text = String(json);
  expect(text).not.toContain("event: gap");
  return [...text.matchAll(/^id: (\d+)\nevent: (\S+)$/gmu)].map(([, at, type = ""]) => [type, Number(at)]);
}

test(
  "ten upgrades in a row, some within a deploy, are noticed by no client and no instance",
  { timeout: 180_000 },
  async () => {
    const report = await upgradeOften({ upgrades: 10, every: 3, seed: 1 });
    expect(report).toMatchObject({ upgrades: 10, isSamePid: true, restarts: 0, failedDeploys: 0 });
    expect(report.losses).toEqual([NOTHING, NOTHING]);
    // What ended within an upgrade is reaped, and what was opened for it is closed.
    expect(report.descriptors.last).toBeLessThanOrEqual(report.descriptors.first + 2);
    expect(report.rssKiB.last).toBeLessThan(report.rssKiB.first * 1.3);
  },
);

test("the program is the one that the symlink leads to now, and pid, events, keys and counters go on", async () => {
  const { folder, daemon: started } = await installed();
  await using daemon = started;
  const headers = { "idempotency-key": "once" };
  const first = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" }, headers);
  await daemon.untilDeploy((first.json as { id: string }).id);
  const before = await daemon.status();
  const passed = await counter(daemon, "handoffd_descriptors_passed_total");
  const [last = ["", 0]] = (await eventsSince(daemon, 0)).slice(-1);

  install(folder, "1.0.1");
  choose(folder, "1.0.1");
  const cli = await daemon.cli("upgrade");
  expect(cli).toMatchObject({ code: 0, stderr: "" });
  expect(cli.stdout).toContain("handoffd 1.0.1 was tried and can go on from 1.0.0");
  expect(cli.stdout).toContain(`handoffd 1.0.1 runs, pid ${daemon.pid}, 1 upgrade\n`);

  const after = await daemon.status();
  expect(after).toEqual({ ...before, version: "1.0.1", upgrades: 1 });
  expect((await eventsSince(daemon, last[1])).map(([type]) => type)).toEqual([
    "daemon.upgrading",
    "daemon.upgraded",
  ]);
  const again = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" }, headers);
  expect(again.json).toEqual(first.json);
  expect(await counter(daemon, "handoffd_descriptors_passed_total")).toBe(passed);
  expect(await counter(daemon, 'handoffd_upgrades_total{result="succeeded"}')).toBe(1);
  expect(await counter(daemon, 'handoffd_recoveries_total{source="upgrade"}')).toBe(1);
});

async function counter(daemon: Daemon, name: string): Promise<number> {
  const { json } = await daemon.api("GET", "/metrics");
  const line = String(json)
    .split("\n")
    .find((each) => each.startsWith(`${name} `));
  return Number(line?.split(" ").at(-1));
}

test("an instance that ends after an upgrade is the daemon's child as before: how it ended is known", async () => {
  await using daemon = await startDaemon({ config: oneService({ restart: { backoff: "50ms..100ms" } }) });
  await daemon.upgrade();
  const pid = (await daemon.service()).generations[0]?.instances[0]?.pid ?? 0;
  killOne(pid);
  await eventually("another instance", async () => {
    const [instance] = (await daemon.service()).generations[0]?.instances ?? [];
    return instance?.restarts === 1 && instance.state === "serving";
  });
  const exit = daemon.log().find(({ msg }) => msg === "instance.exited");
  expect(exit?.["detail"]).toBe(`instance 1 of api/1 (pid ${pid}) was ended by SIGKILL unexpectedly`);
  await eventually("the end of the zombie", () => !isThere(pid));
});

function isThere(pid: number): boolean {
  try {
    readFileSync(`/proc/${pid}/stat`);
    return true;
  } catch {
    return false;
  }
}

const BROKEN: Readonly<Record<string, { readonly program: string; readonly says: RegExp }>> = {
  "cannot be loaded": { program: 'await import("./missing.mjs");', says: /status 1: .*missing\.mjs/u },
  "is older than upgrades": {
    program: 'process.stderr.write("error: unknown option"); process.exit(2);',
    says: /status 2: error: unknown option/u,
  },
  "says nothing": { program: "", says: /does not say that it can go on/u },
  "is killed": { program: 'process.kill(process.pid, "SIGSEGV");', says: /ended with SIGSEGV/u },
};

test("a program that lacks what it loads last, its API, is refused too", async () => {
  const { folder, daemon: started } = await installed();
  await using daemon = started;
  install(folder, "2.0.0");
  choose(folder, "2.0.0");
  const bundle = `${folder}/2.0.0/dist/bundle`;
  const parts = readdirSync(bundle).filter((name) => /^server-.*\.js$/u.test(name));
  expect(parts).toHaveLength(1);
  for (const name of parts) rmSync(`${bundle}/${name}`);
  const { code, stderr } = await daemon.cli("upgrade");
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringContaining("Cannot find module") as string,
  });
  expect(await daemon.status()).toMatchObject({ version: "1.0.0", upgrades: 0, pid: daemon.pid });
});

test(
  "a program that cannot go on is refused in its own words, and the old one goes on",
  { timeout: 60_000 },
  async () => {
    const { folder, daemon: started } = await installed();
    await using daemon = started;
    const { target } = addressOf(await daemon.status(), "web");
    await using load = startLoad({ target, mode: "new", connections: 4, rate: 100 });
    await load.started;
    install(folder, "2.0.0");
    choose(folder, "2.0.0");
    for (const [what, { program, says }] of Object.entries(BROKEN)) {
      writeFileSync(`${folder}/2.0.0/bin/handoffd`, program);
      const { code, stderr } = await daemon.cli("upgrade");
      expect({ what, code, stderr }).toEqual({
        what,
        code: 1,
        stderr: expect.stringMatching(says) as string,
      });
      expect(stderr).toContain("the upgrade was refused and nothing was changed");
      expect(await daemon.status()).toMatchObject({ version: "1.0.0", upgrades: 0, pid: daemon.pid });
    }
    expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
    expect(lost(await load.stop())).toEqual(NOTHING);
  },
);

test("a configuration with another address than the one that is open is refused", async () => {
  await using daemon = await startDaemon({ config: oneService() });
  daemon.configure(oneService({}, "tcp:127.0.0.1:1"));
  const { status, json } = await daemon.api("POST", "/v1/upgrade");
  expect(status).toBe(500);
  expect(json).toMatchObject({
    code: "UPGRADE_REFUSED",
    detail: expect.stringContaining("the address of listener web") as string,
  });
});

test("an upgrade that fails in execve itself leaves a deploy under way, clients and the API as they were", async () => {
  const folder = temporaryFolder();
  install(folder, "1.0.0");
  // Passes its trial, and then what would run it is no program any more.
  const program = `${folder}/1.0.0/bin/handoffd`;
  const spoil = `import { chmodSync, rmSync, writeFileSync } from "node:fs";
    const node = "${folder}/node";
    if (process.argv.includes("--try-upgrade")) { rmSync(node); writeFileSync(node, "none"); chmodSync(node, 0o755); }`;
  writeFileSync(program, `${spoil}\n${readFileSync(program, "utf8").replace(/^#!.*$/mu, "")}`);
  symlinkSync(process.execPath, `${folder}/node`);
  chmodSync(program, 0o755);
  const wait = "until [ -e {dir}/go ]; do sleep 0.02; done";
  const verify = [
    { command: ["/bin/sh", "-c", `case $HANDOFF_VERSION in v1) ${wait};; esac`], timeout: "60s" },
  ];
  await using daemon = await startDaemon({ config: oneService({ verify }), program, node: `${folder}/node` });
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "keepalive", connections: 4, rate: 100 });
  await load.started;
  const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" });
  await daemon.untilDeploy((json as { id: string }).id, { until: ["verifying"] });
  const { code, stderr } = await daemon.cli("upgrade");
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringContaining("could not be replaced") as string,
  });
  expect(stderr).toMatch(/ENOEXEC/u);
  expect(await daemon.status()).toMatchObject({ upgrades: 0, pid: daemon.pid });
  writeFileSync(`${daemon.folder}/go`, "");
  expect(await daemon.untilDeploy("api-2")).toMatchObject({ phase: "succeeded", reason: null });
  expect(lost(await load.stop())).toEqual(NOTHING);
});

test("a state that cannot be written is no state to be replaced in: the upgrade fails and the daemon goes on", async () => {
  await using daemon = await startDaemon({ config: oneService() });
  const services = `${daemon.folder}/state/services`;
  rmSync(services, { recursive: true });
  writeFileSync(services, "");
  const { code, stderr } = await daemon.cli("upgrade");
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/ENOTDIR/u) as string });
  const { where } = addressOf(await daemon.status(), "web");
  expect(await ask(where)).toMatchObject({ status: 200 });
});

/** Says when its channel to the daemon is closed, and when it is told to end. */
const WATCHER = `
import os, select, signal, sys
fd = int(os.environ["HANDOFF_FD"])
print("watching", flush=True)
select.select([fd], [], [])
print("channel lost", flush=True)
signal.pause()
`;

/** One that watches, whose daemon goes on as `goOn` says. */
async function channelOutlives(
  keeper: "auto" | "off",
  goOn: (daemon: Daemon) => Promise<void>,
): Promise<void> {
  const config = oneService();
  const ready = { by: "delay", after: "10ms" };
  const worker = { command: ["python3", "-c", WATCHER], ready, deploy: { bake: "50ms" } };
  const services = { ...(config["services"] as Config), worker };
  await using daemon = await startDaemon({ config: { ...config, services, keeper } });
  await eventually("the watcher", () => daemon.output().includes("watching"));
  for (let times = 0; times < 2; times++) await goOn(daemon);
  // By now whatever was closed has been seen: this takes a process' start.
  const deploy = await daemon.deploy("v1");
  expect(deploy).toMatchObject({ phase: "succeeded" });
  expect(daemon.output()).not.toContain("channel lost");
}

test("an instance's channel outlives upgrades, without a keeper too", { timeout: 60_000 }, () =>
  channelOutlives("off", (daemon) => daemon.upgrade()),
);

test("an instance's channel outlives the daemon's death", { timeout: 60_000 }, () =>
  channelOutlives("auto", async (daemon) => {
    await daemon.stop("SIGKILL");
    await daemon.restart();
  }),
);
