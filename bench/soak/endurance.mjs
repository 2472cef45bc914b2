// What a daemon keeps of ten thousand deploys and a thousand upgrades, with clients who come all the time: nothing may be lost, no
// deploy may fail, and what it holds must be as much at the end as it was soon after the beginning.
//
//   upgraded   half of the deploys; at every fifth the daemon is replaced while the deploy is under way, in whatever phase that is
//   aged       the other half, in one process: what an upgrade would have cleared away is seen here
//
// At a hundred places of each half, when a deploy has just ended, is read how much memory, how many descriptors, threads and files
// there are. The first fifth of each half is left out: by then a hundred deploys and a thousand events are remembered, and there are
// never more. Growth is the slope through the rest (Theil and Sen: the median of the slopes of all pairs), times its length.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { disposing } from "../support/child.mjs";
import { startDaemon } from "../support/daemon.mjs";
import { median, quantile } from "../support/figures.mjs";
import { failuresOf, latenciesOf, startLoad } from "../support/load.mjs";
import { childrenOf } from "../support/usage.mjs";

const FULL = { deploys: 10_000, upgrades: 1_000 };
const QUICK = { deploys: 100, upgrades: 10 };
const SAMPLES = 100;
const WARM_UP = 1 / 5;
/** How much more there may be at the end of a half. */
const LIMITS = {
  rssMiB: 8,
  descriptors: 1,
  threads: 1,
  files: 1,
  stateKiB: 32,
  keeperRssMiB: 0.5,
  keeperDescriptors: 1,
};
/** What says something after fifty deploys, too. */
const QUICK_LIMITS = { descriptors: 3, threads: 1, files: 1, keeperDescriptors: 3 };
/** Two files of it, each as large (daemon/state/history.ts), and the line that was too much. */
const HISTORY_MIB = 16.1;
const ENDED = ["succeeded", "failed", "rolled-back", "aborted"];
const LOOK_MS = 5;
const SHIFT_MS = 600_000;
const UPGRADE_MS = 60_000;

export async function run({ quick, deploys, upgrades }) {
  const size = { ...(quick ? QUICK : FULL), ...(deploys && { deploys }), ...(upgrades && { upgrades }) };
  return disposing(async (own) => {
    const daemon = own(await startDaemon());
    const clients = new Clients(own, daemon.port);
    await clients.come();
    const soaked = new Soak(daemon, clients);
    const each = size.deploys / 2;
    const halves = [
      await soaked.half("upgraded", each, Math.round(each / size.upgrades)),
      await soaked.half("aged", each, Infinity),
    ];
    const reports = await clients.leave();
    const limits = quick ? QUICK_LIMITS : LIMITS;
    const grown = halves.flatMap(({ name, growth }) =>
      Object.entries(limits).flatMap(([what, limit]) => (growth[what] <= limit ? [] : [`${name}: ${what}`])),
    );
    const { failed, upgradeMs } = soaked;
    const requests = reports.reduce((sum, each) => sum + each.requests, 0);
    const told = { requests, failures: failuresOf(reports), latencyMs: latenciesOf(reports) };
    return {
      ok:
        failed.length + grown.length + Object.keys(told.failures).length === 0 &&
        soaked.historyMiB <= HISTORY_MIB,
      ...size,
      failed: failed.slice(0, 10),
      grown,
      limits,
      clients: told,
      historyMiB: soaked.historyMiB,
      upgradeMs: { count: upgradeMs.length, median: median(upgradeMs), max: quantile(upgradeMs, 1) },
      halves,
    };
  });
}

/** New connections all the time. A load lasts a quarter of an hour at most: before that another one takes its place. */
class Clients {
  #own;
  #port;
  #load = null;
  #since = 0;
  #reports = [];

  constructor(own, port) {
    this.#own = own;
    this.#port = port;
  }

  async come() {
    if (this.#load !== null && performance.now() - this.#since < SHIFT_MS) return;
    const before = this.#load;
    const load = startLoad(this.#port, { mode: "new", connections: 8, rate: 200, seconds: 900 });
    this.#load = this.#own(load);
    this.#since = performance.now();
    await load.started();
    if (before !== null) this.#reports.push(await before.stop());
  }

  async leave() {
    return [...this.#reports, await this.#load.stop()];
  }
}

class Soak {
  failed = [];
  upgradeMs = [];
  #daemon;
  #clients;
  #done = 0;

  constructor(daemon, clients) {
    this.#daemon = daemon;
    this.#clients = clients;
  }

  async half(name, deploys, every) {
    const samples = [];
    const began = performance.now();
    const distance = Math.max(1, Math.floor(deploys / SAMPLES));
    for (let n = 1; n <= deploys; n += 1) {
      await this.#deploy(n % every === 0);
      if (n % distance !== 0) continue;
      samples.push(sampleOf(this.#daemon));
      await this.#clients.come();
      if (n % (distance * 10) === 0) console.error(`${name}: ${n} of ${deploys}`);
    }
    const seconds = (performance.now() - began) / 1000;
    const judged = samples.slice(Math.floor(samples.length * WARM_UP));
    const names = Object.keys(judged[0]);
    const of = (measured) => Object.fromEntries(names.map((what) => [what, measured(what)]));
    return {
      name,
      deploysPerSecond: round(deploys / seconds),
      first: judged[0],
      last: judged.at(-1),
      most: of((what) => Math.max(...judged.map((each) => each[what]))),
      growth: of((what) => round(slopeOf(judged.map((each) => each[what])) * (judged.length - 1))),
    };
  }

  async #deploy(isUpgraded) {
    const version = `v${(this.#done += 1)}`;
    const { status, json, text } = await this.#daemon.api("POST", "/v1/services/api/deploys", { version });
    if (status !== 202) throw new Error(`the deploy of ${version} was refused: ${text}`);
    if (isUpgraded) {
      await delay((this.#done * 7) % 40); // Another moment of the deploy each time.
      this.upgradeMs.push(await upgrade(this.#daemon));
    }
    let deploy = json;
    while (!ENDED.includes(deploy.phase)) {
      deploy = (await this.#daemon.api("GET", `/v1/deploys/${json.id}?wait=5s`)).json;
    }
    if (deploy.phase !== "succeeded") this.failed.push(deploy.reason);
  }

  get historyMiB() {
    const files = filesOf(join(this.#daemon.folder, "state")).filter(isHistory);
    return round(files.reduce((sum, file) => sum + statSync(file).size, 0) / 2 ** 20);
  }
}

/** From the request until the next image answers. */
async function upgrade(daemon) {
  const { upgrades } = (await daemon.api("GET", "/v1/status")).json;
  const began = performance.now();
  const { status, text } = await daemon.api("POST", "/v1/upgrade");
  if (status !== 202) throw new Error(`the upgrade was refused: ${text}`);
  for (;;) {
    // Whoever asks while one image becomes the other may be cut off.
    const answer = await daemon.api("GET", "/v1/status").catch(() => null);
    if (answer?.json?.upgrades === upgrades + 1) return Math.round(performance.now() - began);
    if (performance.now() - began > UPGRADE_MS) throw new Error("the upgrade does not end");
    await delay(LOOK_MS);
  }
}

function sampleOf({ pid, folder }) {
  const [keeper] = childrenOf(pid, "handoff-keeper");
  const files = ["state", "run"].flatMap((each) => filesOf(join(folder, each)));
  const state = files.filter((file) => file.includes("/state/") && !isHistory(file));
  return {
    rssMiB: round(statusOf(pid, "VmRSS") / 1024),
    descriptors: descriptorsOf(pid),
    threads: statusOf(pid, "Threads"),
    files: files.length,
    stateKiB: round(state.reduce((sum, file) => sum + statSync(file).size, 0) / 1024),
    keeperRssMiB: round(statusOf(keeper, "VmRSS") / 1024),
    keeperDescriptors: descriptorsOf(keeper),
  };
}

function statusOf(pid, field) {
  return Number(
    new RegExp(`^${field}:\\s+(\\d+)`, "mu").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1],
  );
}

function descriptorsOf(pid) {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

function isHistory(file) {
  return /\/history\.[\d.]*jsonl$/u.test(file);
}

/** How much more each sample has than the one before it. */
function slopeOf(values) {
  const slopes = values.flatMap((later, at) =>
    values.slice(0, at).map((earlier, before) => (later - earlier) / (at - before)),
  );
  return median(slopes);
}

function round(value) {
  return Math.round(value * 100) / 100;
}
