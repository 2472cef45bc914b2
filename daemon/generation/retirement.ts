/**
 * The end of a generation, in the only order that loses nothing. Its weight is 0 already.
 *
 *   settle   its queues and half-open handshakes become empty, bounded by drain.settle
 *   signal   drain.signal to each instance: written down, sent, and that it was sent written down
 *   wait     until every process of it has ended, bounded by drain.timeout, then SIGKILL to the process groups; at once
 *            when someone ends it by hand (end-by-hand.ts)
 *   look     at the queues once more: what is left there gets an acceptor (acceptor.ts), which is of this release and
 *            ends before the generation has, where no other may run beside it
 *
 * After the daemon's death in the middle, the next one comes here again: the instants are the recorded ones. Where it died between
 * the first and the last record of the signal, the process itself tells: one that was told to end has closed its listening socket, and
 * is not told again. (A second SIGTERM means "now" to many programs: Node's process.once leaves the default for it.)
 */
import { Settling } from "../../handoff/settle.ts";
import { acceptLeftovers } from "./acceptor.ts";
import { pause } from "./ending.ts";
import { cancelStart, endInstance } from "../external/external.ts";
import { reach } from "../fault.ts";
import type { Generation } from "./generation.ts";
import type { Instance } from "./instance.ts";
import { socketsOf } from "../proc.ts";
import type { Surroundings } from "../surroundings.ts";

/** Nothing tells when a queue or a handshake has gone: it is looked at, at first this often, then less. */
const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 50;

/** The last moment of the drain, in milliseconds since the epoch: what is left then is killed. An instance may ask for more. */
export function drainDeadline({ since, told, config: { drain }, traffic, instances }: Generation): number {
  const configured = (told.signalledAt ?? since + drain.settleMs) + drain.timeoutMs;
  const asked = instances.filter(({ pid }) => pid !== null).map(({ notices }) => notices.extendedTo);
  return traffic.record.ended?.at ?? Math.max(configured, ...asked);
}

/** `instances`: all but those that are ended already. Returns when no process of these is left. */
export async function retire(
  generation: Generation,
  instances: readonly Instance[],
  surroundings: Surroundings,
): Promise<void> {
  const began = Date.now();
  const { drain, name } = generation.config;
  const { traffic } = generation;
  const isInDoubt = generation.told.signalledAt !== null && !generation.told.isSignalled;
  if (generation.told.signalledAt === null) {
    if (generation.ending?.leavesQueue !== true)
      await settle(generation, generation.since + drain.settleMs, surroundings);
    reach("drain.settled");
    traffic.telling(surroundings.moves.openOf(generation));
    generation.telling(Date.now(), false);
    reach("drain.recorded");
  }
  const isTold = generation.told.isSignalled;
  const deadline = (): number => drainDeadline(generation);
  const kill = { isUnderway: false };
  const ended = instances.map(async (instance) => {
    const process = instance.process ?? instance.takeEnded();
    if (process === null) return cancelStart(generation, instance.id, surroundings);
    const isToBeTold = !isTold && (!isInDoubt || hasSlot(generation, process.pid));
    // It looks for them as soon as it is told.
    if (isToBeTold) surroundings.moves.route({ service: name, generation: generation.number, instance });
    const beforeKill = (): void => {
      // Counted once, before the first is killed: the others' are still open then.
      if (kill.isUnderway) return;
      kill.isUnderway = true;
      const open = surroundings.moves.openOf(generation);
      // A daemon that died while it killed has counted more than are left.
      traffic.cut(open === null ? null : Math.max(open, traffic.record.cut ?? 0));
      if (open !== null) surroundings.tally.connectionsCut(name, open);
    };
    const how = {
      signal: isToBeTold ? drain.signal : null,
      deadline,
      onKill: beforeKill,
      over: traffic.over,
    };
    const { killed } = await endInstance(generation, instance.id, process, how, surroundings);
    if (killed > 0) sayKilled(generation, killed, surroundings);
  });
  // Each has the signal by now: endGroup sends it before it waits for anything.
  reach("drain.signalled");
  if (!isTold) generation.telling(generation.told.signalledAt ?? began, true);
  reach("drain.confirmed");
  await Promise.all(ended);
  reach("drain.ended");
  if (generation.ending?.isAlone === true) await takeLeftovers(generation, surroundings);
  if (traffic.record.cut === null && generation.marks.length > 0) traffic.cut(0);
  const { cut, ended: byHand } = traffic.record;
  if (byHand !== null) {
    surroundings.history.append({ type: "end", id: generation.name, service: name, by: byHand.by, cut });
  }
  surroundings.moves.sayDrained(generation, instances);
  if (generation.wasReady) surroundings.tally.drained(name, (Date.now() - began) / 1000);
}

function hasSlot({ placements }: Generation, pid: number): boolean {
  const sockets = socketsOf(pid);
  return placements.some(({ slot }) => sockets.has(slot.inode));
}

export function sayKilled(generation: Generation, killed: number, surroundings: Surroundings): void {
  const { drain, name } = generation.config;
  const { cut, ended } = generation.traffic.record;
  const connections = cut === null ? "" : ` with ${cut} open connections`;
  const what = `${killed} of its processes${connections} were killed`;
  surroundings.say(
    {
      type: "generation.killed",
      service: name,
      generation: generation.number,
      ...(ended === null && { code: "DRAIN_TIMEOUT" }),
      message:
        ended === null
          ? `${generation.name} did not end within ${drain.timeoutMs} ms of ${drain.signal}: ${what}; raise drain.timeout, or let the application end on ${drain.signal}`
          : `${generation.name} was ended by ${ended.by}: ${what}`,
    },
    "warn",
  );
}

/** Where no second generation may run, nobody else can: before the next one starts, and once. */
async function takeLeftovers(generation: Generation, surroundings: Surroundings): Promise<void> {
  if (generation.ending?.leavesQueue === true) return;
  for (const placement of generation.placements) {
    if (placement.listener.mode === "shared" || placement.slot.queue.length === 0) continue;
    await acceptLeftovers(placement, generation, new Set(), surroundings);
    placement.slot.owner = generation.name;
  }
}

async function settle(generation: Generation, deadline: number, surroundings: Surroundings): Promise<void> {
  const slots = generation.placements
    .filter(({ listener }) => listener.mode !== "shared")
    .map(({ listener, slot }) => new Settling(listener, slot));
  for (let look = FIRST_LOOK_MS; ; look = Math.min(look * 1.5, LONGEST_LOOK_MS)) {
    const left = slots.map((slot) => slot.look());
    const queued = left.reduce((sum, { queued }) => sum + queued, 0);
    const halfOpen = left.reduce((sum, { halfOpen }) => sum + halfOpen, 0);
    if (queued + halfOpen === 0) return;
    if (generation.pids.length === 0) return; // Nobody is left to accept: an acceptor will.
    if (generation.traffic.over.aborted) return;
    if (Date.now() >= deadline) {
      surroundings.say(
        {
          type: "generation.unsettled",
          service: generation.config.name,
          generation: generation.number,
          code: "DRAIN_UNSETTLED",
          message: `${generation.name} left ${queued} connections in its queue and ${halfOpen} handshakes unfinished for ${generation.config.drain.settleMs} ms; it is ended now, and an instance of the current release takes over what is left on its slot`,
        },
        "warn",
      );
      return;
    }
    await pause(look, generation.traffic.over);
  }
}
