/** What a dead daemon was removing, and what was taken out of the file while no daemon ran: it leaves as by a reload. */
import { parseSlotName } from "../../handoff/listener.ts";
import type { Config, ListenerConfig, ServiceConfig } from "../config/config.ts";
import { listenerMoved } from "../errors.ts";
import type { GenerationRecord } from "../generation/generation-record.ts";
import type { Inventory } from "./inventory.ts";
import type { SnapshotStore } from "../state/snapshot.ts";

interface LeftBehind {
  /** There are sockets of each. */
  readonly listeners: readonly ListenerConfig[];
  /** They have processes, and are as those were started. */
  readonly services: readonly ServiceConfig[];
}

/** Throws LISTENER_NOT_REMEMBERED for what is nobody's to say: whether another service is this one by another name. */
function assertUnclaimed({ slots, config: { name } }: GenerationRecord, { services }: Config): void {
  for (const listener of Object.keys(slots)) {
    const other = services.find(({ listeners }) => listeners.includes(listener));
    if (other !== undefined) throw listenerMoved(listener, name, other.name);
  }
}

/** The listeners of which there are sockets. */
export function heldListeners(
  kept: ReadonlyMap<string, unknown>,
  rescued: ReadonlyMap<string, unknown>,
): ReadonlySet<string> {
  return new Set([
    ...[...kept.keys()].flatMap((name) => parseSlotName(name)?.listener ?? []),
    ...rescued.keys(),
  ]);
}

/** `held`: the listeners of which there are sockets. Throws LISTENER_NOT_REMEMBERED; nothing has been touched then. */
export function leftBehind(
  config: Config,
  inventory: Inventory,
  held: ReadonlySet<string>,
  isRecovery: boolean,
  store: SnapshotStore,
): LeftBehind {
  const listeners = inventory.listeners.filter(
    ({ name }) => held.has(name) && !config.listeners.some((each) => each.name === name),
  );
  const gone = inventory.services.filter((name) => !config.services.some((each) => each.name === name));
  const services = gone.flatMap((name) => {
    const last = store.read(name)?.generations.at(-1);
    if (isRecovery && last !== undefined) {
      assertUnclaimed(last, config);
      return [last.config];
    }
    // It had ended, or everything has since: one of the same name begins with the configured version.
    store.forgetVersion(name);
    return [];
  });
  return { listeners, services };
}
