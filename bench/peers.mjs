// handoffd beside what a user would pick instead: the same small application, the same load, ten restarts of each.
//
//   idle        all that are installed run, nobody asks them anything: memory and CPU of what supervises
//   throughput  each in turn, round by round, as fast as it answers; beside the bare application of the same round
//   restarts    one system at a time, four loads at once: new connections, kept ones, streams of 3 s, long-lived ones, at rates
//               that leave the machine room: what their latencies say
//   busy        again as many, with kept connections that ask as fast as they are answered: only then there are requests
//               on their way when a server closes what it takes for idle
//
// Quiet windows and restarts alternate, so that what else the machine does meets both. A system that cannot be measured is named
// with the reason; it does not stand in the others' way.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { bare, NODE_SYSTEMS } from "./peers/node-systems.mjs";
import { RELOADERS } from "./peers/reloaders.mjs";
import { answers } from "./peers/system.mjs";
import { disposing } from "./support/child.mjs";
import { wallMs } from "./support/daemon.mjs";
import { median, medianInterval, quantile, takeTurns } from "./support/figures.mjs";
import { failuresOf, latenciesOf, startLoad } from "./support/load.mjs";
import { messageOf } from "./support/message.mjs";
import { cpuMsOf, memoryOf } from "./support/usage.mjs";

export { markdown } from "./peers/table.mjs";

export const title = "beside what a user would pick instead";

const FULL = {
  restarts: 10,
  rounds: 20,
  idleMs: 10_000,
  windowSeconds: 2,
  throughputSeconds: 0.5,
  warmUpSeconds: 1,
};
const QUICK = {
  restarts: 1,
  rounds: 1,
  idleMs: 200,
  windowSeconds: 1,
  throughputSeconds: 0.2,
  warmUpSeconds: 0.1,
};
const THROUGHPUT = ["new", "keepalive"];
/** What needs nothing that is not here. */
const QUICK_SYSTEMS = ["handoffd", "node:cluster"];

/** Fixed rates, which every system can answer: under a load that takes all of the machine a latency says nothing. */
const WORKLOADS = {
  new: { mode: "new", connections: 32, rate: 400 },
  keepalive: { mode: "keepalive", connections: 64, rate: 1500 },
  stream: { mode: "stream", connections: 8, requests: 8, seconds: 10 },
  idle: { mode: "idle", connections: 16 },
};
const BUSY = { mode: "keepalive", connections: 64 };
const BEFORE_MS = 300;
/** Before the quiet window's end: a stream is in its middle when the restart begins. */
const STREAM_BEFORE_MS = 1_000;
const LEFT_MS = 15_000;

/** `systems`: the names of those that are wanted; `restarts`: how many of each. */
export async function run({ quick, systems: wanted, restarts }) {
  if (!quick) assertPlainSession();
  const sizes = { ...(quick ? QUICK : FULL), ...(restarts !== undefined && { restarts }) };
  const systems = chosen(wanted ?? (quick ? QUICK_SYSTEMS : null));
  const present = systems.filter((system) => system.missing() === null);
  const results = new Map(systems.map((system) => [system, describe(system)]));
  const note = (system, part, error) => {
    results.get(system).problems.push(`${part}: ${messageOf(error)}`);
  };
  await together(present, sizes, results, note);
  for (const system of present) {
    console.error(`${system.name}: ${sizes.restarts} restarts`);
    const loadAverage = loadavg()[0];
    try {
      Object.assign(results.get(system), { loadAverage, ...(await restartsOf(system, sizes)) });
    } catch (error) {
      note(system, "restarts", error);
    }
  }
  return { sizes, workloads: WORKLOADS, systems: [...results.values()] };
}

/**
 * Some systems start processes in sessions of their own and some do not. Where the kernel schedules sessions against each other
 * (sched(7), autogroup), and this one is not as any other, they would not be measured alike.
 */
function assertPlainSession() {
  const file = "/proc/self/autogroup";
  const nice = existsSync(file) ? /nice (-?\d+)/u.exec(readFileSync(file, "utf8"))?.[1] : "0";
  if (nice !== "0")
    throw new Error(`this session has the nice value ${nice} (${file}): start the benchmark with setsid`);
}

function chosen(names) {
  const all = [...NODE_SYSTEMS, ...RELOADERS];
  if (names === null) return all;
  const unknown = names.filter((name) => !all.some((system) => system.name === name));
  if (unknown.length > 0) {
    const known = all.map(({ name }) => name).join(", ");
    throw new Error(`no such system: ${unknown.join(", ")} (there are ${known})`);
  }
  return all.filter(({ name }) => names.includes(name));
}

function describe(system) {
  const missing = system.missing();
  const version = missing === null ? system.version() : null;
  return { name: system.name, application: system.application, version, missing, problems: [] };
}

/** Starts a system in a folder of its own, which ends with `own`. */
async function begin(system, own) {
  const folder = mkdtempSync(join(tmpdir(), "hd-peers-"));
  own({ [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true, force: true }) });
  mkdirSync(join(folder, "files"));
  return system.start(own, join(folder, "files"));
}

// --- all at the same time ---

function together(present, sizes, results, note) {
  return disposing(async (own) => {
    const running = new Map();
    const reference = await begin(bare, own);
    for (const system of present) {
      await begin(system, own).then(
        (started) => running.set(system, started),
        (error) => note(system, "start", error),
      );
    }
    // All have been in use before they rest: an application of Node's that has closed its first connections and then rests is slower by
    // a third for the rest of its life, whoever started it.
    for (const { port } of [reference, ...running.values()])
      for (const mode of THROUGHPUT) await rateOf(port, mode, { throughputSeconds: sizes.warmUpSeconds });
    await delay(sizes.idleMs / 5); // What a start leaves to do is done.
    const before = new Map([...running].map(([system, { supervisors }]) => [system, cpuMsOf(supervisors())]));
    const began = performance.now();
    await delay(sizes.idleMs);
    for (const [system, { supervisors }] of running) {
      const pids = supervisors();
      const per10s = ((cpuMsOf(pids) - before.get(system)) * 10_000) / (performance.now() - began);
      results.get(system).supervisor = { processes: pids.length, ...memoryOf(pids), idleCpuMs: per10s };
    }
    const alike = [...running].filter(([system]) => system.application === "Node");
    for (const mode of THROUGHPUT) {
      console.error(`throughput: ${mode}`);
      const sides = { bare: () => rateOf(reference.port, mode, sizes) };
      for (const [{ name }, { port }] of alike) sides[name] = () => rateOf(port, mode, sizes);
      const rates = await takeTurns(sizes.rounds, sides);
      for (const [system] of alike) {
        const ratios = rates[system.name].map((rate, round) => rate / rates.bare[round]);
        (results.get(system).throughput ??= {})[mode] = {
          ...medianInterval(ratios),
          perSecond: median(rates[system.name]),
          barePerSecond: median(rates.bare),
        };
      }
    }
  });
}

/** Good answers a second, as fast as they come. */
async function rateOf(port, mode, { throughputSeconds }) {
  const load = startLoad(port, { mode, connections: 16, seconds: throughputSeconds });
  const { ok, durationMs } = await load.done;
  return (ok * 1000) / durationMs;
}

// --- one at a time ---

function restartsOf(system, sizes) {
  return disposing(async (own) => {
    const running = await begin(system, own);
    await warmUp(running.port);
    const quiet = [];
    const restarts = [];
    for (let i = 0; i < sizes.restarts; i++) {
      const loads = loadsOf(running.port, ["new", "keepalive"], sizes.windowSeconds, own);
      await delay(sizes.windowSeconds * 1000 - STREAM_BEFORE_MS);
      const stream = own(startLoad(running.port, WORKLOADS.stream));
      quiet.push({ new: await loads.new.done, keepalive: await loads.keepalive.done });
      restarts.push(await restartUnderLoad(running, stream, sizes, own));
    }
    const busy = [];
    for (let i = 0; i < sizes.restarts; i++) busy.push(await restartWhenBusy(running, sizes, own));
    const of = (windows, mode) => windows.map((reports) => reports[mode]);
    const steady = (mode) => latenciesOf(of(quiet, mode));
    const during = (mode) => latenciesOf(of(restarts, mode));
    const reports = { ...mapValues(WORKLOADS, (_, mode) => of(restarts, mode)), busy };
    const firstMs = restarts.map(({ firstMs }) => firstMs);
    return {
      restarts: restarts.length,
      steadyFailures: failuresOf(quiet.flatMap(({ new: fresh, keepalive }) => [fresh, keepalive])),
      failures: mapValues(reports, failuresOf),
      requests: mapValues(reports, (each) => sum(each, ({ requests }) => requests)),
      longLived: {
        held: restarts.length * WORKLOADS.idle.connections,
        ended: sum(of(restarts, "idle"), ({ closedIdle }) => closedIdle),
      },
      latencyMs: {
        new: { steady: steady("new"), restarts: during("new") },
        keepalive: { steady: steady("keepalive"), restarts: during("keepalive") },
      },
      firstAnswerMs: { median: median(firstMs), max: quantile(firstMs, 1) },
      examples: examplesOf(Object.values(reports).flat()),
    };
  });
}

/** What the first failures of each report were, in words, each once. */
function examplesOf(reports) {
  const words = reports.flatMap(({ errors }) => errors.map(({ what }) => what.replace(/ \(.*$/u, "")));
  return [...new Set(words)];
}

function mapValues(object, of) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, of(value, key)]));
}

function sum(reports, of) {
  return reports.reduce((total, report) => total + of(report), 0);
}

/** What a first thousand requests costs is the compiler's, not the restart's. */
async function warmUp(port) {
  const load = startLoad(port, { ...WORKLOADS.keepalive, rate: 0, seconds: 1 });
  await load.done;
}

function loadsOf(port, modes, seconds, own) {
  return Object.fromEntries(
    modes.map((mode) => [mode, own(startLoad(port, { ...WORKLOADS[mode], seconds }))]),
  );
}

/** One restart, with all four loads before it, in it and until what was under way has ended. */
async function restartUnderLoad(running, stream, { windowSeconds }, own) {
  const { port } = running;
  const idle = own(startLoad(port, { ...WORKLOADS.idle, seconds: 60 }));
  const loads = loadsOf(port, ["new", "keepalive"], windowSeconds, own);
  await Promise.all([idle.settled(), loads.new.started(), loads.keepalive.started()]);
  await delay(BEFORE_MS);
  const commandAt = wallMs();
  const restarted = within(running.restart(), LEFT_MS);
  const first = loads.new.done.then((report) => firstAnswer(report, commandAt, port));
  const [firstMs] = await Promise.all([first, restarted]);
  const reports = {
    new: await loads.new.done,
    keepalive: await loads.keepalive.done,
    stream: await stream.done,
  };
  return { ...reports, idle: await idle.stop(), firstMs };
}

async function restartWhenBusy(running, { windowSeconds }, own) {
  const load = own(startLoad(running.port, { ...BUSY, seconds: windowSeconds }));
  await load.started();
  await delay(BEFORE_MS);
  const [report] = await Promise.all([load.done, within(running.restart(), LEFT_MS)]);
  return report;
}

/** From the command to the first answer of somebody who was not there before, in milliseconds. */
async function firstAnswer({ firstSeen, startedAt }, commandAt, port) {
  const after = Object.values(firstSeen)
    .map((ms) => startedAt + ms - commandAt)
    .filter((ms) => ms > 0);
  if (after.length > 0) return Math.min(...after);
  // It takes longer than the load: it is asked for until it comes.
  await answers(port, ({ generation }) => !(generation in firstSeen));
  return wallMs() - commandAt;
}

async function within(work, ms) {
  const late = delay(ms, null, { ref: false }).then(() =>
    Promise.reject(new Error(`the restart takes more than ${ms} ms`)),
  );
  await Promise.race([work, late]);
}
