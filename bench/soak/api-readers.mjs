// What people who watch cost those who deploy: 500 readers of events that sleep, 50 that never read, and 2,000 requests
// for the status a second for 10 s, while five deploys run and clients come to the service all the time. No client may
// lose anything, and the deploys may take half as long again as five others in the same run with nobody watching. Three
// rounds of both, in turn: a single deploy's time says little.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { disposing, start } from "../support/child.mjs";
import { loadGenerator } from "../support/compile.mjs";
import { startDaemon } from "../support/daemon.mjs";

const FULL = { readers: 500, silent: 50, perSecond: 2000, seconds: 10, deploys: 5, rounds: 3 };
const QUICK = { readers: 100, silent: 20, perSecond: 100, seconds: 3, deploys: 3, rounds: 1 };
const ENDED = ["succeeded", "failed", "rolled-back", "aborted"];
const LOSSES = [
  "refused",
  "reset",
  "resetOnReuse",
  "eof",
  "eofOnReuse",
  "cut",
  "timeout",
  "malformed",
  "badStatus",
  "client",
];

/** What it took in milliseconds, as its record has it: not when this process came to see it. */
async function deploy(daemon, version) {
  const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version });
  let deployed = json;
  while (!ENDED.includes(deployed.phase)) {
    deployed = (await daemon.api("GET", `/v1/deploys/${deployed.id}?wait=5s`)).json;
  }
  if (deployed.phase !== "succeeded") throw new Error(JSON.stringify(deployed));
  return Date.parse(deployed.finishedAt) - Date.parse(deployed.startedAt);
}

/** Spread over the time that the watching lasts. */
async function deploys(daemon, prefix, { deploys: count, seconds }) {
  const times = [];
  for (let n = 0; n < count; n += 1) {
    const begun = performance.now();
    times.push(await deploy(daemon, `${prefix}${n}`));
    await delay(Math.max(0, (seconds * 1000) / count - (performance.now() - begun)));
  }
  return times;
}

/** A reader of events; a silent one takes nothing from its socket. */
function reader(socketPath, isSilent) {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    const seen = { bytes: 0, closed: false, end: () => socket.destroy() };
    socket.on("error", reject);
    socket.once("close", () => (seen.closed = true));
    socket.write("GET /v1/events?since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n", () => resolve(seen));
    if (isSilent) socket.pause();
    else socket.on("data", ({ length }) => (seen.bytes += length));
  });
}

/** A load generator that asks so often, in a process of its own; `report()` ends it. */
function load(own, target, ...more) {
  const running = start(loadGenerator(), ["--target", target, "--seconds", "600", ...more]);
  own({ [Symbol.asyncDispose]: () => running.end() });
  return {
    pid: running.child.pid,
    async report() {
      running.child.kill("SIGTERM");
      const report = JSON.parse(await running.rest());
      const lost = LOSSES.reduce((sum, kind) => sum + report[kind], 0);
      return { requests: report.requests, ok: report.ok, lost, latencyMs: report.latencyMs };
    },
  };
}

/** Of a process so far, in seconds: utime and stime of proc_pid_stat(5), whose tick is a hundredth. */
function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** How much of a core each process takes from here on, until the function that is returned is called. */
function watchCpu(pids) {
  const begun = performance.now();
  const before = Object.entries(pids).map(([name, pid]) => [name, pid, cpuOf(pid)]);
  return () => {
    const seconds = (performance.now() - begun) / 1000;
    const share = (pid, from) => Math.round(((cpuOf(pid) - from) / seconds) * 100) / 100;
    return Object.fromEntries(before.map(([name, pid, from]) => [name, share(pid, from)]));
  };
}

function median(times) {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

/** Deploys while everybody watches. */
async function watchedDeploys(own, daemon, size, pids) {
  const readers = await Promise.all(
    Array.from({ length: size.readers + size.silent }, (_, index) =>
      reader(daemon.socket, index < size.silent),
    ),
  );
  const often = ["--mode", "keepalive", "--connections", "32", "--rate", String(size.perSecond)];
  const askers = load(own, `unix:${daemon.socket}`, ...often, "--path", "/v1/status");
  const begun = performance.now();
  const busy = watchCpu({ ...pids, askers: askers.pid });
  const times = await deploys(daemon, "watched", size);
  const seconds = (performance.now() - begun) / 1000;
  // What the clients take of the machine's cores, the daemon does not have.
  const cores = busy();
  const status = await askers.report();
  const awake = readers.slice(size.silent);
  const dropped = awake.filter(({ closed }) => closed).length;
  const fed = Math.min(...awake.map(({ bytes }) => bytes));
  for (const each of readers) each.end();
  return { times, cores, dropped, fed, status, perSecond: Math.round(status.ok / seconds) };
}

export async function run({ quick }) {
  const size = quick ? QUICK : FULL;
  return disposing(async (own) => {
    const daemon = own(await startDaemon());
    const many = ["--mode", "new", "--connections", "8", "--rate", "300"];
    const users = load(own, `127.0.0.1:${daemon.port}`, ...many);
    const pids = { daemon: daemon.pid, users: users.pid, thisProcess: process.pid };
    await deploy(daemon, "warm");
    const alone = [];
    const rounds = [];
    for (let round = 0; round < size.rounds; round += 1) {
      alone.push(...(await deploys(daemon, "alone", size)));
      rounds.push(await watchedDeploys(own, daemon, size, pids));
    }
    const clients = await users.report();
    const watched = rounds.flatMap(({ times }) => times);
    const ratio = Math.round((median(watched) / median(alone)) * 100) / 100;
    const status = {
      lost: rounds.reduce((sum, each) => sum + each.status.lost, 0),
      answeredPerSecond: Math.min(...rounds.map(({ perSecond }) => perSecond)),
      latencyMs: rounds.map(({ status: { latencyMs } }) => latencyMs),
    };
    const dropped = rounds.reduce((sum, each) => sum + each.dropped, 0);
    const ok =
      clients.lost === 0 &&
      clients.ok > 0 &&
      status.lost === 0 &&
      dropped === 0 &&
      rounds.every(({ fed }) => fed > 0) &&
      // The short form runs beside other tests, where no time means anything.
      (quick || (status.answeredPerSecond >= 0.9 * size.perSecond && ratio <= 1.5));
    return {
      ok,
      ...size,
      clients,
      status,
      readersDropped: dropped,
      cores: rounds.map(({ cores }) => cores),
      deployMs: { alone: alone.map(Math.round), watched: watched.map(Math.round), ratio },
    };
  });
}
