/**
 * One verification, from a daemon that is up to what was seen:
 *
 *   start    the first generation, until it serves or has failed
 *   know     each listener: HTTP or not, how fast, descriptors at rest
 *   load     clients of every kind, from here on
 *   deploy   N times: follow it to the end of the old generation, then let every client ask again
 *   stop     the clients, and look at what is left
 */
import type { Client } from "../../admin-api/client.ts";
import type { Deploy, Event, Listener } from "../../admin-api/schemas.ts";
import { parseAddress } from "../../handoff/address.ts";
import type { ServiceConfig } from "../../daemon/config/config.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import { type Baseline, countDescriptors, getToKnow, type Target } from "./baseline.ts";
import { daemonFailed, unusable } from "./errors.ts";
import { EventLog } from "./event-log.ts";
import { lastLines } from "./last-lines.ts";
import { Load, type LoadOptions } from "./load.ts";
import type { DescriptorCounts, Observations, Retirement } from "./observations.ts";
import type { PrivateDaemon } from "./private-daemon.ts";
import { Tally } from "./tally.ts";
import { Watch } from "./watch.ts";

export interface RunOptions {
  readonly service: ServiceConfig;
  /** Of this service, as the private daemon has it. */
  readonly paths: ReadonlyMap<string, string>;
  readonly streamPath: string | null;
  readonly deploys: number;
  readonly connections: number;
  readonly readyWithinMs: number;
  /** An answer that takes longer is late, unless the service is as slow by nature. */
  readonly lateMs: number;
  /** Where the application's output goes. */
  readonly output: string;
  /** The daemon's: its unix sockets are in it. */
  readonly directory: string;
  readonly onDeploy: (deploy: Deploy, index: number) => void;
}

/** What takes so many times as long as the slowest answer before the load is late. */
const LATE_FACTOR = 10;
/** So much longer than what is late may an answer be. */
const PATIENCE_FACTOR = 5;
/** What is under way at the end; a stream need not end at all. */
const LAST_ANSWERS_MS = 2_000;
const LAST_WORDS = 20;
/** Beyond all that the configuration allows a deploy. */
const SPARE_MS = 60_000;

/** Throws VERIFY_UNUSABLE when nothing can be started, VERIFY_DAEMON_FAILED, or the signal's reason. */
export async function observe(
  daemon: PrivateDaemon,
  options: RunOptions,
  interrupted: AbortSignal,
): Promise<Observations> {
  const { client } = daemon;
  const { service } = options;
  const over = new AbortController();
  const signal = AbortSignal.any([interrupted, over.signal]);
  void daemon.exited.then(() => over.abort(daemonFailed("ended by itself", daemon.lastWords)));
  const places = (await client.listeners()).map((listener) => targetOf(listener, options));
  const log = EventLog.follow(client);
  const watch = Watch.start({
    client,
    service: service.name,
    places: places.map(({ where }) => where),
    folder: options.directory,
  });
  const tally = new Tally();
  const deploys: Deploy[] = [];
  let baselines: readonly Baseline[] = [];
  let descriptors: DescriptorCounts | null = null;
  let loads: readonly Load[] = [];
  try {
    const start = await followed(client, await firstDeploy(log, service.name, signal), service, signal);
    options.onDeploy(start, 0);
    if (start.phase === "succeeded") {
      baselines = await Promise.all(places.map((place) => getToKnow(place, signal)));
      const targets = places.map((place, index) => ({ ...place, speaks: speaksOf(baselines[index]) }));
      descriptors = await countDescriptors(targets, () => watch.descriptorsOf(start.to), signal);
      loads = places.flatMap(({ where }, index) => {
        const baseline = baselines[index];
        return baseline === undefined
          ? []
          : Load.start(baseline.facts, where, tally, limits(baseline, options));
      });
      await allAskOnce(loads, signal);
      while (deploys.length < options.deploys && (deploys.at(-1)?.phase ?? "succeeded") === "succeeded") {
        const { id } = await client.deploy(service.name);
        const ended = await followed(client, id, service, signal);
        deploys.push(ended);
        options.onDeploy(ended, deploys.length);
        await allAskOnce(loads, signal);
      }
      await Promise.all(loads.map((load) => load.stop(LAST_ANSWERS_MS)));
    }
    return {
      service: service.name,
      readyBy: service.ready.by,
      drainTimeoutMs: service.drain.timeoutMs,
      strategy: service.deploy.strategy,
      start,
      deploys,
      wanted: options.deploys,
      listeners: baselines.map(({ facts }) => facts),
      counts: tally.counts,
      losses: tally.losses,
      idleCloses: tally.idleCloses,
      events: log.events,
      sockets: watch.sockets,
      retirements: retirements(log.events, watch),
      leftovers: watch.leftovers,
      missingPaths: watch.missingPaths,
      descriptors,
      output: lastLines(options.output, LAST_WORDS),
      readyWithinMs: options.readyWithinMs,
    };
  } finally {
    await Promise.all([...loads.map((load) => load.stop(0)), watch.stop(), log.stop()]);
  }
}

/** Where a client on this host reaches the listener. */
function targetOf({ name, protocol, address }: Listener, { paths, streamPath }: RunOptions): Target {
  const facts = { name, address, path: paths.get(name) ?? "/", streamPath };
  if (protocol === "unix") return { ...facts, where: { path: address.replace(/^@/u, "\0") } };
  const parsed = parseAddress(`tcp:${address}`);
  if (parsed.kind !== "tcp") throw new Error(`${address} is no TCP address`);
  // All addresses of the host are asked for by --listen only.
  const host = { "0.0.0.0": "127.0.0.1", "::": "::1" }[parsed.host] ?? parsed.host;
  return { ...facts, where: { host, port: parsed.port } };
}

function speaksOf(baseline: Baseline | undefined): "http" | "unknown" {
  return baseline?.facts.speaks ?? "unknown";
}

function limits({ slowestMs }: Baseline, { connections, lateMs }: RunOptions): LoadOptions {
  const late = Math.max(lateMs, LATE_FACTOR * slowestMs);
  return { connections, lateMs: late, answerMs: PATIENCE_FACTOR * late };
}

/** The id of the deploy that starts the first generation. */
async function firstDeploy(log: EventLog, service: string, signal: AbortSignal): Promise<string> {
  const { deploy, message } = await log.until(
    (event) =>
      event.service === service && (event.type === "deploy.phase" || event.type === "service.not-started")
        ? event
        : null,
    signal,
  );
  if (deploy === undefined) throw unusable(service, message, "deploy it by hand once, then verify it");
  return deploy;
}

/** The deploy as it ended: its old generation has ended, too. */
async function followed(
  client: Client,
  id: string,
  { ready, verify, drain, instances, name }: ServiceConfig,
  signal: AbortSignal,
): Promise<Deploy> {
  const proofs = ready.timeoutMs + verify.reduce((sum, { timeoutMs }) => sum + timeoutMs, 0);
  const limitMs = (proofs + drain.settleMs + drain.timeoutMs) * instances + SPARE_MS;
  const either = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
  try {
    for await (const message of client.deployEvents(id, { since: 0, signal: either })) {
      if (message.kind === "end" && message.deploy !== null) return message.deploy;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (either.aborted)
      throw daemonFailed(`did not end a deploy of ${name} within ${limitMs / 1000} s`, [], error);
    if (!hasCode(error, "DAEMON_NOT_REACHABLE")) throw error;
    throw daemonFailed("cannot be reached", [error.message], error);
  }
  throw daemonFailed(`does not know deploy ${id} any more`, []);
}

/** Each client, but for long answers, has had an answer that it asked for after now. */
async function allAskOnce(loads: readonly Load[], signal: AbortSignal): Promise<void> {
  // What the kernel has of closed connections by now is delivered first: a request into one of them would be our own fault.
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
  await Promise.race([Promise.all(loads.map((load) => load.round())), aborted(signal)]);
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
}

/** Which generations had to be killed, and whether that was for children of theirs only. */
function retirements(events: readonly Event[], watch: Watch): readonly Retirement[] {
  return events.flatMap(({ type, generation }) =>
    type === "generation.killed" && generation !== undefined
      ? [{ generation, childrenOnly: watch.hadOnlyChildren(generation) }]
      : [],
  );
}
