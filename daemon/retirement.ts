/**
 * The end of a generation, in the only order that loses nothing. Its weight is 0 already.
 *
 *   settle   its queues and half-open handshakes become empty, bounded by drain.settle
 *   signal   drain.signal to each instance: written down, sent, and that it was sent written down
 *   wait     until every process of it has ended, bounded by drain.timeout, then SIGKILL to the process groups
 *   look     at the queues once more: what is left there gets an acceptor (acceptor.ts)
 *
 * After the daemon's death in the middle, the next one comes here again: the instants are the recorded ones. Where it died between
 * the first and the last record of the signal, the process itself tells: one that was told to end has closed its listening socket, and
 * is not told again. (A second SIGTERM means "now" to many programs: Node's process.once leaves the default for it.)
 */
import { Settling } from "../handoff/settle.ts";
import { endGroup, pause } from "./ending.ts";
import { reach } from "./fault.ts";
import type { Generation } from "./generation.ts";
import { socketsOf } from "./proc.ts";
import type { Surroundings } from "./surroundings.ts";

/** Nothing tells when a queue or a handshake has gone: it is looked at, at first this often, then less. */
const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 50;

/** Returns when no process of the generation is left. */
export async function retire(generation: Generation, surroundings: Surroundings): Promise<void> {
  const began = Date.now();
  const { drain } = generation.config;
  const isInDoubt = generation.told.signalledAt !== null && !generation.told.isSignalled;
  if (generation.told.signalledAt === null) {
    await settle(generation, generation.since + drain.settleMs, surroundings);
    reach("drain.settled");
    generation.telling(Date.now(), false);
    reach("drain.recorded");
  }
  const since = generation.told.signalledAt ?? began;
  const deadline = since + drain.timeoutMs;
  const isTold = generation.told.isSignalled;
  const cut: { connections: number | null; isKilling: boolean } = { connections: null, isKilling: false };
  const ended = generation.instances.map(async (instance) => {
    const process = instance.process ?? instance.takeEnded();
    if (process === null) return;
    const isToBeTold = !isTold && (!isInDoubt || hasSlot(generation, process.pid));
    const { killed } = await endGroup(process, isToBeTold ? drain.signal : null, deadline, () => {
      // Counted once, before the first is killed: the others' are still open then.
      if (!cut.isKilling) cut.connections = surroundings.connectionsOf(generation.marks);
      cut.isKilling = true;
    });
    if (killed > 0) sayKilled(generation, killed, cut.connections, surroundings);
  });
  // Each has the signal by now: endGroup sends it before it waits for anything.
  reach("drain.signalled");
  if (!isTold) generation.telling(since, true);
  reach("drain.confirmed");
  await Promise.all(ended);
  reach("drain.ended");
  if (cut.connections !== null) surroundings.tally.connectionsCut(generation.config.name, cut.connections);
  if (generation.wasReady) surroundings.tally.drained(generation.config.name, (Date.now() - began) / 1000);
}

function hasSlot({ placements }: Generation, pid: number): boolean {
  const sockets = socketsOf(pid);
  return placements.some(({ slot }) => sockets.has(slot.inode));
}

function sayKilled(
  generation: Generation,
  killed: number,
  cut: number | null,
  surroundings: Surroundings,
): void {
  const { drain, name } = generation.config;
  const connections = cut === null ? "" : ` with ${cut} open connections`;
  surroundings.say(
    {
      type: "generation.killed",
      service: name,
      generation: generation.number,
      code: "DRAIN_TIMEOUT",
      message: `${generation.name} did not end within ${drain.timeoutMs} ms of ${drain.signal}: ${killed} of its processes${connections} were killed; raise drain.timeout, or let the application end on ${drain.signal}`,
    },
    "warn",
  );
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
    await pause(look);
  }
}
