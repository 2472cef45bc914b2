/** A canary: users come to the candidate step by step, and back at once when it is found wanting. */
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask, countConnections, type Where } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import type { Deploy } from "../support/status.ts";
import { NOTHING } from "../support/stage.ts";

const PAUSED = [0.01, 0.05, 0.5].map((weight) => ({ weight, pause: true }));

function canary(deploy: Config = {}, service: Config = {}): Config {
  return oneService({ ...service, deploy: { strategy: "canary", steps: PAUSED, bake: "50ms", ...deploy } });
}

/** Returns when it has reached this step and stays there. */
async function atStep(daemon: Daemon, id: string, index: number): Promise<void> {
  await eventually(`step ${index}`, async () => {
    const { step, paused, phase } = (await daemon.api("GET", `/v1/deploys/${id}`)).json as Deploy;
    if (phase !== "shifting" && phase !== "starting" && phase !== "verifying") throw new Error(phase);
    return step?.index === index && paused === true;
  });
}

async function begin(daemon: Daemon, body: Config): Promise<string> {
  const { status, json } = await daemon.api("POST", "/v1/services/api/deploys", body);
  expect({ status, json }).toMatchObject({ status: 202 });
  return (json as Deploy).id;
}

/** Connections of the candidate, generation 2, lie within four standard errors of the share. */
async function expectShare(where: Where, share: number, connections: number): Promise<void> {
  const counts = await countConnections(connections, where, { concurrency: 32 });
  const error = Math.sqrt((share * (1 - share)) / connections);
  expect(Math.abs((counts["2"] ?? 0) / connections - share)).toBeLessThanOrEqual(4 * error);
}

test(
  "a canary goes from step to step when it is told to, and its share is what was asked for",
  { timeout: 90_000 },
  async () => {
    await using daemon = await startDaemon({ config: canary() });
    const { where, target } = addressOf(await daemon.status(), "web");
    await using load = startLoad({ target, mode: "new", connections: 8, rate: 200 });
    await using kept = startLoad({ target, mode: "keepalive", connections: 8, rate: 100 });
    await Promise.all([load.started, kept.started]);
    const id = await begin(daemon, { version: "v1" });
    for (const [index, { weight }] of PAUSED.entries()) {
      await atStep(daemon, id, index);
      await expectShare(where, weight, 4000);
      expect((await daemon.service()).generations.map((each) => each.weight)).toEqual([1 - weight, weight]);
      expect((await daemon.cli("continue", id)).code).toBe(0);
    }
    expect(await daemon.untilDeploy(id)).toMatchObject({
      phase: "succeeded",
      reason: null,
      strategy: "canary",
    });
    expect(await countConnections(100, where)).toEqual({ "2": 100 });
    expect(lost(await load.stop())).toEqual(NOTHING);
    expect(lost(await kept.stop())).toEqual(NOTHING);
  },
);

test(
  "sticky: over a growing weight, the daemon's death and a way back no client has met both generations",
  { timeout: 90_000 },
  async () => {
    await using daemon = await startDaemon({ config: canary({ share: "sticky" }) });
    const { where } = addressOf(await daemon.status(), "web");
    const clients = Array.from({ length: 400 }, (_, n) => `127.1.${Math.floor(n / 200)}.${(n % 200) + 1}`);
    const look = async (): Promise<number[]> => {
      const answers: number[] = [];
      for (let from = 0; from < clients.length; from += 25) {
        const some = clients.slice(from, from + 25).map((source) => ask(where, { source }));
        answers.push(...(await Promise.all(some)).map(({ generation }) => generation ?? 0));
      }
      return answers;
    };
    const id = await begin(daemon, {
      version: "v1",
      steps: [0.2, 0.6].map((weight) => ({ weight, pause: true })),
    });
    await atStep(daemon, id, 0);
    const first = await look();
    const share = first.filter((generation) => generation === 2).length / clients.length;
    expect(Math.abs(share - 0.2)).toBeLessThanOrEqual(4 * Math.sqrt((0.2 * 0.8) / clients.length));
    expect(await look()).toEqual(first);
    await daemon.stop("SIGKILL");
    await daemon.restart();
    expect(await look()).toEqual(first);
    await daemon.cli("continue", id);
    await atStep(daemon, id, 1);
    const second = await look();
    expect(second.filter((generation, client) => generation < (first[client] ?? 0))).toEqual([]);
    expect(second.filter((generation) => generation === 2).length).toBeGreaterThan(clients.length / 2);
    expect((await daemon.cli("abort", id)).code).toBe(0);
    expect(new Set(await look())).toEqual(new Set([1]));
  },
);

test("pinned networks meet the candidate once it is verified, and nobody else does; they are back with the others when it goes", async () => {
  const wait = "[ $HANDOFF_VERSION = v0 ] || until [ -e {dir}/go ]; do sleep 0.02; done";
  const verify = [{ command: ["/bin/sh", "-c", wait], timeout: "100s" }];
  const steps = [{ weight: 0, pause: true }];
  await using daemon = await startDaemon({ config: canary({ pin: ["127.2.0.0/16"], steps }, { verify }) });
  const { where } = addressOf(await daemon.status(), "web");
  const guest = { source: "127.2.3.4" };
  const id = await begin(daemon, { version: "v1" });
  await daemon.untilDeploy(id, { until: ["verifying"] });
  expect(await countConnections(50, where, guest)).toEqual({ "1": 50 });
  writeFileSync(`${daemon.folder}/go`, "");
  await atStep(daemon, id, 0);
  expect(await countConnections(50, where, guest)).toEqual({ "2": 50 });
  expect(await countConnections(200, where)).toEqual({ "1": 200 });
  await daemon.stop("SIGKILL");
  await daemon.restart();
  expect(await countConnections(50, where, guest)).toEqual({ "2": 50 });
  expect(await countConnections(200, where)).toEqual({ "1": 200 });
  expect((await daemon.cli("rollback", "api")).code).toBe(0);
  expect(await countConnections(50, where, guest)).toEqual({ "1": 50 });
});

test.each([
  ["its instances exit", "dies-when-told.mjs", "exit", "DEPLOY_CANDIDATE_EXITED"],
  ["it withdraws its readiness", "dies-when-told.mjs", "withdraw", "DEPLOY_CANDIDATE_NOT_READY"],
  ["it fails its verification when that is repeated", "dies-when-told.mjs", "fail", "DEPLOY_VERIFY_FAILED"],
  ["its accept queue stays", "dies-when-told.mjs", "stall", "DEPLOY_QUEUE_STUCK"],
])("a candidate goes back by itself when %s", async (_title, program, told, code) => {
  await using daemon = await startDaemon({
    config: canary(
      { steps: [{ weight: 0.5, for: told === "fail" ? "300ms" : "100s" }], watch: { queue: "300ms" } },
      {
        command: commandOf(program),
        environment: { TOLD: "{dir}/told", BAD: "bad" },
        ready: { by: "notify", timeout: "5s" },
        verify: [{ http: { path: "/healthz" } }],
        drain: { timeout: "2s", settle: "300ms" },
      },
    ),
  });
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "new", connections: 16, rate: 100, lateMs: 8000 });
  await load.started;
  const id = await begin(daemon, { version: "bad" });
  await eventually("users on the candidate", async () => {
    return ((await daemon.api("GET", `/v1/deploys/${id}`)).json as Deploy).weight === 0.5;
  });
  await load.sawVersion("bad");
  writeFileSync(`${daemon.folder}/told`, told);
  const deploy = await daemon.untilDeploy(id);
  expect(deploy).toMatchObject({ phase: "rolled-back", reason: { code } });
  expect(deploy.reason?.message).toMatch(/had 50 % of new connections for \d/u);
  const service = await daemon.service();
  expect(service).toMatchObject({ state: "running", current: 1, candidate: null });
  expect(service.generations[0]).toMatchObject({ number: 1, weight: 1, state: "serving" });
  // Whoever was on a candidate that died or stood still is its own loss; nobody was refused, and nobody is lost from here on.
  expect((await load.stop()).refused).toBe(0);
  await using after = startLoad({ target, mode: "new", connections: 16, requests: 500 });
  const report = await after.done;
  expect(lost(report)).toEqual(NOTHING);
  expect(Object.keys(report.versions)).toEqual(["v0"]);
});
