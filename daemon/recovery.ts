/** What is checked after a daemon's death, before the next one changes anything. */
import { CodedError, messageOf } from "../handoff/coded-error.ts";
import type { Listener } from "../handoff/listener.ts";
import { reach } from "./fault.ts";
import type { Generation } from "./generation.ts";
import { familyHolds } from "./proc.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * A pinned connection must arrive in exactly its slot, in each, before a weight is changed. Where it does not, the kernel's
 * program stays as it is: it was right when it was attached, and the listener's deploys fail with the same reason.
 */
export async function proveSlots(
  service: string,
  listeners: Iterable<Listener>,
  generations: readonly Generation[],
  surroundings: Surroundings,
): Promise<void> {
  reach("recovery.resumed");
  for (const listener of listeners) {
    try {
      listener.assertAlone();
      for (const slot of listener.slots) {
        const owner = generations.find(({ name }) => name === slot.owner);
        await listener.prove(slot, (inode) => owner !== undefined && familyHolds(owner.pids, inode));
      }
      listener.steer(listener.shares);
    } catch (error) {
      surroundings.say(
        {
          type: "listener.not-proved",
          service,
          listener: listener.name,
          message: messageOf(error),
          ...(error instanceof CodedError ? { code: error.code } : {}),
        },
        "error",
      );
    }
  }
  reach("recovery.proved");
}
