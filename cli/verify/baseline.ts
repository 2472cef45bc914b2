/** Before the first deploy, one client after the other: what the service is like when nothing happens. */
import { pause } from "../../daemon/generation/ending.ts";
import { ask, type Asked, Connections, type Where } from "./ask.ts";
import { call } from "./caller.ts";
import type { DescriptorCounts, ListenerFacts } from "./observations.ts";

const FIRST_ANSWER_MS = 5_000;
const WARM_UP = 20;
/** Requests between two counts of descriptors. What an application opens once, a pool or a log, is open by the first count. */
const BETWEEN_COUNTS = 60;
const COUNTS = 3;
const AT_ONCE = 4;
const COUNTING_MS = 15_000;
const REST_LOOK_MS = 25;
const REST_MS = 2_000;

export interface Baseline {
  readonly facts: ListenerFacts;
  /** Of the requests, to the head of the answer. */
  readonly slowestMs: number;
}

export interface Target {
  readonly name: string;
  readonly address: string;
  readonly where: Where;
  readonly path: string;
  readonly streamPath: string | null;
}

/** Whether it speaks HTTP, how fast, with which status, and whether it keeps connections. */
export async function getToKnow(target: Target, signal: AbortSignal): Promise<Baseline> {
  const { where, ...facts } = target;
  const first = await once(where, target.path, signal);
  if (first.fate !== "answered") {
    const rest = { speaks: "unknown", status: null, keepsConnections: false } as const;
    return { facts: { ...facts, ...rest }, slowestMs: 0 };
  }
  const kept = new Connections(where, true);
  let slowestMs = first.headMs;
  let keepsConnections = true;
  for (let request = 0; request < WARM_UP && !signal.aborted; request++) {
    const asked = await ask(kept, target.path, FIRST_ANSWER_MS, signal);
    slowestMs = Math.max(slowestMs, asked.headMs);
    keepsConnections &&= asked.isKept;
  }
  kept.destroy();
  return { facts: { ...facts, speaks: "http", status: first.status, keepsConnections }, slowestMs };
}

/** `count`: the descriptors that the application has open now. null when there was no time for enough requests. */
export async function countDescriptors(
  targets: readonly (Target & Pick<ListenerFacts, "speaks">)[],
  count: () => number,
  signal: AbortSignal,
): Promise<DescriptorCounts | null> {
  const until = performance.now() + COUNTING_MS;
  const counts = [await atRest(count, signal)];
  while (counts.length < COUNTS) {
    for (let asked = 0; asked < BETWEEN_COUNTS; asked += AT_ONCE) {
      if (performance.now() > until || signal.aborted) return null;
      const visits = Array.from({ length: AT_ONCE }, () => targets.map((target) => visit(target, signal)));
      await Promise.all(visits.flat());
    }
    counts.push(await atRest(count, signal));
  }
  return { requests: BETWEEN_COUNTS, counts };
}

async function visit(
  { where, path, speaks }: Target & Pick<ListenerFacts, "speaks">,
  signal: AbortSignal,
): Promise<void> {
  if (speaks === "http") await once(where, path, signal);
  else await call(where, signal);
}

async function once(where: Where, path: string, signal: AbortSignal): Promise<Asked> {
  const connections = new Connections(where, false);
  try {
    return await ask(connections, path, FIRST_ANSWER_MS, signal);
  } finally {
    connections.destroy();
  }
}

/** Connections that we have closed are closed by the application a moment later: the number is right when it does not fall any more. */
async function atRest(count: () => number, signal: AbortSignal): Promise<number> {
  const until = performance.now() + REST_MS;
  let last = count();
  for (let same = 0; same < 3 && performance.now() < until && !signal.aborted;) {
    await pause(REST_LOOK_MS, signal);
    const now = count();
    same = now === last ? same + 1 : 0;
    last = now;
  }
  return last;
}
