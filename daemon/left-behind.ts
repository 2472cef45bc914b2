/** What a dead daemon was removing, and what was taken out of the file while no daemon ran: it leaves as by a reload. */
import type { Descriptor } from "../handoff/descriptor.ts";
import { parseSlotName } from "../handoff/listener.ts";
import type { Config, ListenerConfig, ServiceConfig } from "./config/config.ts";
import type { Inventory } from "./inventory.ts";
import type { SnapshotStore } from "./snapshot.ts";

interface LeftBehind {
  /** Their sockets are among those that were kept. */
  readonly listeners: readonly ListenerConfig[];
  /** They have processes, and are as those were started. */
  readonly services: readonly ServiceConfig[];
}

export function leftBehind(
  config: Config,
  inventory: Inventory,
  kept: ReadonlyMap<string, Descriptor>,
  store: SnapshotStore,
): LeftBehind {
  const held = new Set([...kept.keys()].map((name) => parseSlotName(name)?.listener));
  const listeners = inventory.listeners.filter(
    ({ name }) => held.has(name) && !config.listeners.some((each) => each.name === name),
  );
  const gone = inventory.services.filter((name) => !config.services.some((each) => each.name === name));
  const services = gone.flatMap((name) => {
    const last = store.read(name)?.generations.at(-1);
    if (kept.size > 0 && last !== undefined) return [last.config];
    // It had ended, or everything has since: one of the same name begins with the configured version.
    store.forgetVersion(name);
    return [];
  });
  return { listeners, services };
}
