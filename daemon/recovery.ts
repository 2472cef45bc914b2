/** What is checked after a daemon's death, before the next one changes anything. */
import type { EventDraft } from "../admin-api/events.ts";
import { CodedError, messageOf } from "../handoff/coded-error.ts";
import type { Listener } from "../handoff/listener.ts";
import { refusesNew } from "../handoff/refuse.ts";
import { packageVersion } from "../handoff/version.ts";
import { reach } from "./fault.ts";
import type { Generation } from "./generation.ts";
import type { RecoverySource } from "./metrics.ts";
import { familyHolds } from "./proc.ts";
import { anyLives } from "./rescue.ts";
import type { ServiceRecord } from "./snapshot.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Inheritance } from "./upgrade-state.ts";

/** Where what this daemon goes on with comes from; null: there is nothing, it begins. `hasStored`: systemd's fdstore gave some of `kept`. */
export function sourceOf(
  kept: ReadonlyMap<string, unknown>,
  hasStored: boolean,
  inherited: Inheritance | null,
  records: ReadonlyMap<string, ServiceRecord | null>,
): RecoverySource | null {
  if (inherited !== null) return "upgrade";
  if (kept.size > 0) return hasStored ? "fdstore" : "keeper";
  return [...records.values()].some((record) => anyLives(record)) ? "pidfd" : null;
}

export function recoveredEvent(source: RecoverySource, inherited: Inheritance | null): EventDraft {
  if (inherited !== null) {
    const message = `handoffd ${inherited.state.version} was replaced by ${packageVersion()}, in place`;
    return { type: "daemon.upgraded", message };
  }
  const whence = source === "pidfd" ? "; nobody has kept its sockets, they come from its instances" : "";
  return {
    type: "daemon.recovered",
    message: `the daemon goes on from the state of one that ended${whence}`,
  };
}

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
    // It is being removed: pins are refused like everybody, and no weight will change.
    if (listener.protocol === "tcp" && refusesNew(listener)) continue;
    try {
      listener.assertAlone();
      for (const slot of listener.slots) {
        const owner = generations.find(({ name }) => name === slot.owner);
        await listener.prove(slot, (inode) => owner !== undefined && familyHolds(owner.pids, inode));
      }
      listener.steer(listener.shares, listener.steering);
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
