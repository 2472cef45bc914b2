// What a daemon that has nothing to do costs: memory, processor time, and the time until its sockets take connections. Beside it,
// the least that a Node process with the same libraries could be (Fastify, pino, prom-client), started in turns with it.
import { connect } from "node:net";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { disposing, start } from "./support/child.mjs";
import { startDaemon } from "./support/daemon.mjs";
import { row } from "./support/figures.mjs";
import { childrenOf, cpuMsOf, memoryOf } from "./support/usage.mjs";

export const title = "what a daemon that has nothing to do costs";

const BARE = fileURLToPath(new URL("support/bare-api.mjs", import.meta.url));
const SETTLED_MS = 1_000;
/** Eight seconds after the last of its work V8 collects the start's garbage, once, in 80 ms (its memory reducer). */
const COLLECTED_MS = 12_000;
const DEADLINE_MS = 20_000;
/** Above the bare process, in MiB. */
const MORE_GOAL = 8;

export async function run({ quick }) {
  const rounds = quick ? 1 : 5;
  const idle = quick ? { afterMs: SETTLED_MS, ms: 200 } : { afterMs: COLLECTED_MS, ms: 10_000 };
  const daemons = [];
  const bare = [];
  for (let i = 0; i < rounds; i++) {
    daemons.push(await daemonOnce(idle));
    bare.push(await bareOnce());
  }
  const rss = daemons.map((each) => each.rssMiB);
  return [
    row("RSS: the daemon, with metrics and API asked", "MiB", rss),
    row("RSS: a bare Fastify, pino and prom-client, asked", "MiB", bare),
    row(
      "RSS: what the daemon has more",
      "MiB",
      rss.map((mib, round) => mib - bare[round]),
      { goal: MORE_GOAL },
    ),
    row(
      "PSS: the daemon",
      "MiB",
      daemons.map((each) => each.pssMiB),
    ),
    row(
      "RSS: its keeper",
      "MiB",
      daemons.map((each) => each.keeperMiB),
    ),
    row(
      "from its start until its listener takes connections",
      "ms",
      daemons.map((each) => each.listeningMs),
      { goal: 200 },
    ),
    row(
      "processor time in 10 s without work",
      "ms",
      daemons.map((each) => each.idleCpuMs),
      { goal: 10 },
    ),
  ];
}

function daemonOnce(idle) {
  return disposing(async (own) => {
    let listeningMs = 0;
    const daemon = own(
      await startDaemon({
        onSpawned: async (port) => {
          const began = performance.now();
          await takesConnections(port);
          listeningMs = performance.now() - began;
        },
      }),
    );
    for (const path of ["/metrics", "/v1/status"]) await daemon.api("GET", path);
    await delay(idle.afterMs);
    const began = { cpu: cpuMsOf([daemon.pid]), at: performance.now() };
    await delay(idle.ms);
    const idleCpuMs = ((cpuMsOf([daemon.pid]) - began.cpu) * 10_000) / (performance.now() - began.at);
    const keeper = memoryOf(childrenOf(daemon.pid, "handoff-keeper"));
    return { ...memoryOf([daemon.pid]), keeperMiB: keeper.rssMiB, listeningMs, idleCpuMs };
  });
}

function bareOnce() {
  return disposing(async (own) => {
    const bare = start(process.execPath, [BARE]);
    own({ [Symbol.asyncDispose]: () => bare.end() });
    const { port } = JSON.parse(await bare.line());
    for (const path of ["/metrics", "/"]) await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
    await delay(SETTLED_MS);
    return memoryOf([bare.child.pid]).rssMiB;
  });
}

/** The kernel takes them as soon as the socket listens, whoever accepts. */
async function takesConnections(port) {
  const deadline = performance.now() + DEADLINE_MS;
  while (performance.now() < deadline) {
    const taken = await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("close", () => resolve(false));
      socket.once("connect", () => socket.resetAndDestroy());
    });
    if (taken) return;
    await delay(1);
  }
}
