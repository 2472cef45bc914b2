/**
 * A short-lived instance of the current release on a slot whose generation has ended: it takes what the kernel still has there (a
 * handshake that was finished late, the queue of a process that was killed), and is ended when nothing is left.
 */
import { messageOf } from "../../handoff/coded-error.ts";
import type { Offer } from "../../handoff/grant.ts";
import { launch } from "../../handoff/launch.ts";
import type { Process } from "../../handoff/process.ts";
import { Settling } from "../../handoff/settle.ts";
import { specificationFor } from "./account.ts";
import { endGroup, pause, within } from "./ending.ts";
import { noCommand } from "../errors.ts";
import type { Generation } from "./generation.ts";
import type { Surroundings } from "../surroundings.ts";
import type { Placement } from "../proof/verification.ts";

const LAUNCH_MS = 10_000;
const LOOK_MS = 10;

/** Returns how many connections are still on the slot: 0 when the acceptor has done its work. Does not throw. */
export async function acceptLeftovers(
  placement: Placement,
  current: Generation,
  acceptors: Set<Process>,
  surroundings: Surroundings,
): Promise<number> {
  const { listener, slot } = placement;
  const { config } = current;
  surroundings.say({
    type: "acceptor.started",
    service: config.name,
    listener: listener.name,
    message: `${slot.queue.length} connections were left on slot ${slot.index} of ${listener.name}: an instance of the current release takes them`,
  });
  const owner = `${config.name}/acceptor`;
  slot.owner = owner;
  try {
    slot.assertFresh(listener.backlog);
    await run(placement, current, acceptors, surroundings);
  } catch (error) {
    surroundings.say(
      {
        type: "acceptor.failed",
        service: config.name,
        listener: listener.name,
        message: `the acceptor of slot ${slot.index} of ${listener.name} could not be started: ${messageOf(error)}`,
      },
      "error",
    );
  } finally {
    // Whoever has been given it meanwhile keeps it.
    if (slot.owner === owner) slot.owner = null;
  }
  return slot.queue.length;
}

async function run(
  { listener, slot }: Placement,
  current: Generation,
  acceptors: Set<Process>,
  surroundings: Surroundings,
): Promise<void> {
  const { config, version } = current;
  if (config.command.length === 0) throw noCommand(config.name);
  const offers: Offer[] = current.placements.map((own) => ({
    name: own.listener.name,
    fd: own.listener === listener ? slot.fd : own.slot.fd,
  }));
  // As every process of its generation has them.
  await current.store.begin();
  offers.push(...current.store.offers);
  const variables = {
    HANDOFF_SERVICE: config.name,
    HANDOFF_GENERATION: String(current.number),
    HANDOFF_VERSION: version ?? "",
    HANDOFF_INSTANCE: "acceptor",
  };
  // It is nobody's to find after the daemon's death, and its work is short: it drains then.
  const specification = specificationFor(
    config,
    version,
    config.command,
    variables,
    false,
    config.drain.signal,
  );
  const standard = [surroundings.devNull, 1, 2] as const;
  const { process, channel } = await launch(specification, offers, standard, LAUNCH_MS);
  // Open until the process has ended: the launcher takes its end for the daemon's.
  using _channel = channel;
  acceptors.add(process);
  try {
    const settling = new Settling(listener, slot);
    const deadline = Date.now() + config.ready.timeoutMs;
    while (settling.look().queued > 0 && !process.exited && Date.now() < deadline) await pause(LOOK_MS);
    await endGroup(process, config.drain.signal, within(config.drain.timeoutMs), () => undefined);
  } finally {
    acceptors.delete(process);
  }
}
