// What people who watch cost those who deploy: 500 readers of events that sleep, 50 that never read, and 2,000 requests
// for the status a second for 10 s, while five deploys run and clients come to the service all the time. No client may
// lose anything, and the deploys may take half as long again as five others in the same run with nobody watching.
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { disposing, start } from "../support/child.mjs";
import { loadGenerator } from "../support/compile.mjs";
import { startDaemon } from "../support/daemon.mjs";

const FULL = { readers: 500, silent: 50, perSecond: 2000, seconds: 10, deploys: 5 };
const QUICK = { readers: 100, silent: 20, perSecond: 100, seconds: 3, deploys: 3 };
const ENDED = ["succeeded", "failed", "rolled-back", "aborted"];
const TICK_MS = 10;

async function deploy(daemon, version) {
  const begun = performance.now();
  const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version });
  let deployed = json;
  while (!ENDED.includes(deployed.phase)) {
    deployed = (await daemon.api("GET", `/v1/deploys/${deployed.id}?wait=5s`)).json;
  }
  if (deployed.phase !== "succeeded") throw new Error(JSON.stringify(deployed));
  return performance.now() - begun;
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

/** Asks so often for so long, whether or not the answers keep up. */
async function askStatus(socketPath, { perSecond, seconds }) {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const counts = { asked: 0, answered: 0, failed: 0, slowestMs: 0 };
  const pending = new Set();
  const ask = () => {
    const begun = performance.now();
    counts.asked += 1;
    const one = new Promise((resolve) => {
      const asked = request({ socketPath, path: "/v1/status", agent }, (response) => {
        response.resume().once("end", () => {
          if (response.statusCode === 200) counts.answered += 1;
          else counts.failed += 1;
          counts.slowestMs = Math.max(counts.slowestMs, performance.now() - begun);
          resolve();
        });
      });
      asked.once("error", () => {
        counts.failed += 1;
        resolve();
      });
      asked.end();
    });
    pending.add(one);
    void one.then(() => pending.delete(one));
  };
  const begun = performance.now();
  for (;;) {
    const elapsedMs = performance.now() - begun;
    if (elapsedMs >= seconds * 1000) break;
    while (counts.asked < (elapsedMs / 1000) * perSecond) ask();
    await delay(TICK_MS);
  }
  await Promise.all(pending);
  agent.destroy();
  return {
    ...counts,
    tookMs: Math.round(performance.now() - begun),
    slowestMs: Math.round(counts.slowestMs),
  };
}

function median(times) {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

export async function run({ quick }) {
  const size = quick ? QUICK : FULL;
  return disposing(async (own) => {
    const daemon = own(await startDaemon());
    const target = [
      "--target",
      `127.0.0.1:${daemon.port}`,
      "--mode",
      "new",
      "--connections",
      "8",
      "--rate",
      "300",
    ];
    const load = start(loadGenerator(), [...target, "--seconds", "600"]);
    own({ [Symbol.asyncDispose]: () => load.end() });
    await deploy(daemon, "warm");
    const alone = await deploys(daemon, "alone", size);

    const readers = await Promise.all(
      Array.from({ length: size.readers + size.silent }, (_, index) =>
        reader(daemon.socket, index < size.silent),
      ),
    );
    const [status, watched] = await Promise.all([
      askStatus(daemon.socket, size),
      deploys(daemon, "watched", size),
    ]);
    const awake = readers.slice(size.silent);
    const dropped = awake.filter(({ closed }) => closed).length;
    const fed = Math.min(...awake.map(({ bytes }) => bytes));
    for (const each of readers) each.end();

    load.child.kill("SIGTERM");
    const clients = JSON.parse(await load.rest());
    const kinds = [
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
    const lost = kinds.reduce((sum, kind) => sum + clients[kind], 0);
    const ratio = Math.round((median(watched) / median(alone)) * 100) / 100;
    // The short form runs beside other tests, where no time means anything.
    const isFast = quick || ratio <= 1.5;
    const ok = lost === 0 && clients.ok > 0 && status.failed === 0 && dropped === 0 && fed > 0 && isFast;
    return {
      ok,
      ...size,
      clients: { ok: clients.ok, lost, latencyMs: clients.latencyMs },
      status,
      readersDropped: dropped,
      deployMs: { alone: alone.map(Math.round), watched: watched.map(Math.round), ratio },
    };
  });
}
