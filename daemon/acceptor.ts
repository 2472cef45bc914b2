/**
 * A short-lived instance of the current release on a slot whose generation has ended: it takes what the kernel still has there (a
 * handshake that was finished late, the queue of a process that was killed), and is ended when nothing is left.
 */
import { messageOf } from "../handoff/coded-error.ts";
import type { Offer } from "../handoff/grant.ts";
import { launch } from "../handoff/launch.ts";
import { Settling } from "../handoff/settle.ts";
import { specificationFor } from "./account.ts";
import { endGroup, pause } from "./ending.ts";
import type { Generation } from "./generation.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Placement } from "./verification.ts";

const LAUNCH_MS = 10_000;
const LOOK_MS = 10;

/** Returns how many connections are still on the slot: 0 when the acceptor has done its work. */
export async function acceptLeftovers(
  placement: Placement,
  current: Generation,
  surroundings: Surroundings,
): Promise<number> {
  const { listener, slot } = placement;
  const { config, version } = current;
  const queued = slot.queue.length;
  slot.owner = `${config.name}/acceptor`;
  slot.assertFresh(listener.backlog);
  const offers: Offer[] = current.placements.map((own) => ({
    name: own.listener.name,
    fd: own.listener === listener ? slot.fd : own.slot.fd,
  }));
  const specification = specificationFor(
    config,
    version,
    config.command,
    {
      HANDOFF_SERVICE: config.name,
      HANDOFF_GENERATION: String(current.number),
      HANDOFF_VERSION: version ?? "",
      HANDOFF_INSTANCE: "acceptor",
    },
    false,
  );
  surroundings.say({
    type: "acceptor.started",
    service: config.name,
    listener: listener.name,
    message: `${queued} connections were left on slot ${slot.index} of ${listener.name}: an instance of the current release takes them`,
  });
  try {
    const standard = [surroundings.devNull, 1, 2] as const;
    const { process, channel } = await launch(specification, offers, standard, LAUNCH_MS);
    channel.close();
    const settling = new Settling(listener, slot);
    const deadline = Date.now() + config.ready.timeoutMs;
    while (settling.look().queued > 0 && !process.exited && Date.now() < deadline) await pause(LOOK_MS);
    await endGroup(process, config.drain.signal, Date.now() + config.drain.timeoutMs, () => undefined);
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
    slot.owner = null;
  }
  return slot.queue.length;
}
