/** What dies, and what nobody notices of it. */
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { startDaemon, type Config, type Daemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask, countConnections } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { addressOf } from "../support/ports.ts";
import { alive, eventually, killOne, waitForExit } from "../support/processes.ts";

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };

/** It comes back soon, and drains for as long as the test needs. */
const configuration = (service: Config = {}) =>
  oneService({ drain: { timeout: "100s" }, restart: { backoff: "50ms..100ms" }, ...service });

async function pidsOf(daemon: Daemon, generation: number): Promise<number[]> {
  const { generations } = await daemon.service();
  const found = generations.find(({ number }) => number === generation);
  return found?.instances.map(({ pid }) => pid) ?? [];
}

test("an instance killed under load comes back on its slot, and what was queued there is answered", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  const { target } = addressOf(await daemon.status(), "web");
  // Requests that the killed process had accepted die with it; those of new connections that it had not are safe.
  await using load = startLoad({ target, mode: "new", connections: 8, rate: 300, lateMs: 5_000 });
  await load.started;
  const accepted = [];
  for (let round = 0; round < 5; round++) {
    const [pid = 0] = await pidsOf(daemon, 1);
    killOne(pid);
    await waitForExit(pid);
    await eventually("another instance", async () => {
      const service = await daemon.service();
      const [instance] = service.generations[0]?.instances ?? [];
      return instance?.state === "serving" && instance.pid !== pid;
    });
    accepted.push(pid);
  }
  const service = await daemon.service();
  expect(service.generations).toMatchObject([
    { number: 1, state: "serving", instances: [{ id: 1, restarts: 5 }] },
  ]);
  const report = await load.stop();
  const { refused, cut, late } = lost(report);
  expect({ refused, cut, late, timeout: report.timeout }).toEqual({
    refused: 0,
    cut: 0,
    late: 0,
    timeout: 0,
  });
  // At most what was in the process' hands when it was killed: no more than the clients' 8 connections each time.
  expect(report.reset + report.eof).toBeLessThanOrEqual(8 * accepted.length);
});

test("connections queued on a killed instance's slot are all answered by the next one", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  const { where } = addressOf(await daemon.status(), "web");
  const [pid = 0] = await pidsOf(daemon, 1);
  process.kill(pid, "SIGSTOP");
  const asked = Array.from({ length: 100 }, () => ask(where));
  await daemon.until("100 connections in the queue", ({ listeners }) =>
    listeners[0]?.slots.some(({ queue }) => (queue?.length ?? 0) === 100),
  );
  killOne(pid);
  const answers = await Promise.all(asked);
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect(answers.every((answer) => answer.pid !== pid)).toBe(true);
});

test(
  "the daemon killed with slot 0 idle, a gated candidate in 1 and the current generation in 2 lets nobody notice",
  { timeout: 120_000 },
  async () => {
    const wait = [
      "/bin/sh",
      "-c",
      "case $HANDOFF_VERSION in held) until [ -e {dir}/go ]; do sleep 0.02; done;; esac",
    ];
    await using daemon = await startDaemon({
      config: configuration({ verify: [{ command: wait, timeout: "100s" }] }),
    });
    const { where, target } = addressOf(await daemon.status(), "web");
    await using fresh = startLoad({ target, mode: "new", connections: 8, rate: 400, seconds: 100 });
    await using kept = startLoad({
      target,
      mode: "keepalive",
      connections: 8,
      thinkMs: [0, 20],
      rate: 200,
      seconds: 100,
    });
    await Promise.all([fresh.started, kept.started]);
    await arrange(daemon, { idle: 0, candidate: 1, current: 2 });
    const before = await daemon.service();
    const { current, candidate } = before;
    const instances = [...(await pidsOf(daemon, current ?? 0)), ...(await pidsOf(daemon, candidate ?? 0))];

    daemon.kill("SIGKILL");
    await daemon.exit;
    const counts = await countConnections(10_000, where, { concurrency: 32 });
    expect(counts).toEqual({ [String(current)]: 10_000 });
    expect(instances.every(alive)).toBe(true);

    await daemon.restart();
    const after = await daemon.service();
    expect({ current: after.current, candidate: after.candidate }).toEqual({ current, candidate });
    expect([...(await pidsOf(daemon, current ?? 0)), ...(await pidsOf(daemon, candidate ?? 0))]).toEqual(
      instances,
    );
    expect(await countConnections(1_000, where)).toEqual({ [String(current)]: 1_000 });

    // The deploy that was under way goes on by its own rules, and the next one works.
    writeFileSync(`${daemon.folder}/go`, "");
    const ended = await daemon.untilDeploy(`api-${candidate ?? 0}`);
    expect(ended).toMatchObject({ phase: "succeeded", reason: null });
    expect(await daemon.deploy("next")).toMatchObject({ phase: "succeeded", reason: null });
    const reports = await Promise.all([fresh.stop(), kept.stop()]);
    expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING]);
  },
);

/** Leads the daemon into a state in which exactly these slots are used so. */
async function arrange(daemon: Daemon, wanted: { idle: number; candidate: number; current: number }) {
  const ofSlot = async (index: number): Promise<string | null> =>
    (await daemon.status()).listeners[0]?.slots[index]?.generation ?? null;
  // The old generations hold a long answer, so that their slots stay taken for as long as the test wants.
  const { where } = addressOf(await daemon.status(), "web");
  const hold = (ms: number): Promise<unknown> => ask(where, { path: `/slow?ms=${ms}`, timeoutMs: 30_000 });
  for (let version = 1; (await ofSlot(wanted.idle)) === null; version++) await daemon.deploy(`v${version}`);
  const inIdle = hold(4_000); // Keeps the generation on the slot that is to be idle.
  await daemon.deploy("a", { until: ["draining"] });
  const inCandidate = hold(1_500);
  await daemon.deploy("b", { until: ["draining"] });
  await inCandidate;
  await eventually("a free slot for the candidate", async () => (await ofSlot(wanted.candidate)) === null);
  await daemon.api("POST", "/v1/services/api/deploys", { version: "held" });
  await inIdle;
  await eventually("an idle slot", async () => (await ofSlot(wanted.idle)) === null, 20_000);
  const { current, candidate } = await daemon.service();
  expect(await Promise.all([wanted.idle, wanted.candidate, wanted.current].map(ofSlot))).toEqual([
    null,
    `api/${candidate ?? 0}`,
    `api/${current ?? 0}`,
  ]);
}
