// What a daemon with a thousand listeners and three hundred services costs beside one that has one of each: how long it takes to
// come up, to say how it is, to deploy one service, and to be replaced. What is one service's own must cost the same in both.
import { setTimeout as delay } from "node:timers/promises";
import { disposing, start } from "./support/child.mjs";
import { program } from "./support/compile.mjs";
import { startDaemon, wallMs } from "./support/daemon.mjs";
import { ratio, ratioInterval, row, takeTurns } from "./support/figures.mjs";

export const title = "one service, alone and among many";

const ENDED = ["succeeded", "failed", "rolled-back", "aborted"];
const LOOK_MS = 5;
const DEADLINE_MS = 60_000;

export function run(options) {
  return disposing((own) => measure(options, own));
}

async function measure({ quick }, own) {
  const [listeners, services, pairs] = quick ? [270, 20, 2] : [1_000, 300, 12];
  const daemons = {
    alone: own(await startDaemon()),
    among: own(await startDaemon({ more: listeners - 1, others: services - 1 })),
  };
  const both = (measured) =>
    Object.fromEntries(Object.keys(daemons).map((name) => [name, () => measured(name)]));
  const compared = async (what, unit, measured, more = {}) => {
    await takeTurns(1, both(measured)); // The first ones are compiled while they run.
    const times = await takeTurns(pairs, both(measured));
    return [
      row(`${what}, alone`, unit, times.alone.flat()),
      row(`${what}, among ${services} services`, unit, times.among.flat(), {
        ratio: ratio(times.among, times.alone),
        ratioInterval: ratioInterval(times.among, times.alone),
        of: "alone",
        ...more,
      }),
    ];
  };
  const get = (path) => async (name) => {
    const began = performance.now();
    const { status } = await daemons[name].api("GET", path);
    if (status !== 200) throw new Error(`GET ${path}: ${status}`);
    return [performance.now() - began];
  };
  const deploys = { alone: [], among: [] };
  const rows = [
    row("start, alone", "ms", [daemons.alone.startMs]),
    row(`start, ${listeners} listeners and ${services} services`, "ms", [daemons.among.startMs]),
    ...(await compared("status", "ms", get("/v1/status"))),
    ...(await compared("metrics", "ms", get("/metrics"))),
    ...(await compared(
      "deploy, request → first user",
      "ms",
      async (name) => {
        const times = await deployOnce(daemons[name]);
        deploys[name].push(times);
        return [times.answered - times.sent];
      },
      { goalRatio: 1.2 },
    )),
    ...Object.entries(deploys).map(([name, times]) =>
      row(
        `deploy, request → all has ended, ${name}`,
        "ms",
        times.map(({ sent, ended }) => ended - sent),
      ),
    ),
  ];
  const upgrades = { alone: [], among: [] };
  for (let i = 0; i < (quick ? 1 : 3); i++)
    for (const [name, daemon] of Object.entries(daemons)) upgrades[name].push(await upgradeOnce(daemon));
  return [...rows, ...Object.entries(upgrades).map(([name, times]) => row(`upgrade, ${name}`, "ms", times))];
}

/** Returns when all of it has ended: the other side must not meet what this one has left to do. */
function deployOnce(daemon) {
  return disposing(async (own) => {
    const visitor = start(program("visitor"), [String(daemon.port)]);
    own({ [Symbol.asyncDispose]: () => visitor.end("SIGKILL") });
    await visitor.line(); // The generation that was there first.
    const sent = wallMs();
    const { status, json, text } = await daemon.api("POST", "/v1/services/api/deploys", {});
    if (status !== 202) throw new Error(`the deploy was refused: ${text}`);
    const [generation, nanoseconds] = (await visitor.line()).split(" ").map(Number);
    if (generation !== json.to) throw new Error(`generation ${generation} answers, not ${json.to}`);
    const ended = await endOf(daemon, json.id);
    visitor.child.kill("SIGTERM");
    const [, requests, failed] = (await visitor.line()).split(" ").map(Number);
    if (failed > 0) throw new Error(`${failed} of ${requests} requests failed`);
    return { sent, answered: nanoseconds / 1e6, ended };
  });
}

async function endOf(daemon, id) {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const { json: deploy } = await daemon.api("GET", `/v1/deploys/${id}`);
    if (deploy.phase === "succeeded") return Date.parse(deploy.finishedAt);
    if (ENDED.includes(deploy.phase) || performance.now() > deadline)
      throw new Error(`the deploy is ${deploy.phase}: ${deploy.reason?.message}`);
    await delay(LOOK_MS);
  }
}

/** From the request until the new image answers, and has adopted everything. */
async function upgradeOnce(daemon) {
  const { json: before } = await daemon.api("GET", "/v1/status");
  const began = performance.now();
  const { status, text } = await daemon.api("POST", "/v1/upgrade");
  if (status !== 202) throw new Error(`the upgrade was refused: ${text}`);
  for (;;) {
    const answer = await daemon.api("GET", "/v1/status").catch(() => null);
    if (answer?.json?.upgrades === before.upgrades + 1) {
      const { services } = answer.json;
      const down = services.filter(({ state }) => state !== "running");
      if (down.length > 0) throw new Error(`${down.length} of ${services.length} services did not survive`);
      return performance.now() - began;
    }
    if (performance.now() - began > DEADLINE_MS) throw new Error("the upgrade does not end");
    await delay(LOOK_MS);
  }
}
