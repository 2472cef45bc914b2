/** What is checked after a daemon's death, before the next one changes anything. */
import type { EventDraft } from "../admin-api/events.ts";
import { CodedError, messageOf } from "../handoff/coded-error.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import type { Listener } from "../handoff/listener.ts";
import { refusesNew } from "../handoff/refuse.ts";
import { packageVersion } from "../handoff/version.ts";
import { reach } from "./fault.ts";
import type { Generation } from "./generation/generation.ts";
import type { LookForHolders } from "./sockets/holders.ts";
import type { RecoverySource } from "./metrics.ts";
import { familyHolds } from "./proc.ts";
import { anyLives } from "./sockets/rescue.ts";
import type { ServiceRecord } from "./state/snapshot.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Inheritance } from "./upgrade/upgrade-state.ts";

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
 * What was lost with whoever had kept it, a sentence for each service; none after an orderly end or a reboot, of which no generation is
 * written down. `before` as the records were read, `now` as they are gone on with.
 */
export function lossEvents(
  source: RecoverySource | null,
  before: ReadonlyMap<string, ServiceRecord | null>,
  now: ReadonlyMap<string, ServiceRecord | null>,
): EventDraft[] {
  return [...before].flatMap(([service, record]) => {
    const opened = "the daemon, its keeper and its instances have all ended: its listeners are opened again";
    if (source === null && (record?.generations.length ?? 0) > 0)
      return [{ type: "service.lost", service, message: `${service}: ${opened}, ${RESET}` }];
    const has = (one: ServiceRecord | null | undefined): boolean =>
      one?.generations.some(({ number }) => number === record?.hold?.to) === true;
    if (!has(record) || has(now.get(service))) return [];
    const message = `${service} is held, and its queue had no other holder than the daemon and its keeper: it is opened again, ${RESET}`;
    return [{ type: "service.lost", service, message }];
  });
}

const RESET = "and connections that waited were reset";

/** What a dead daemon has left, for one of its services to go on with. */
export interface Remains {
  /** What is used is taken out of it. */
  readonly kept: Map<string, Descriptor>;
  readonly holders: LookForHolders;
  readonly isLeaving: boolean;
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
