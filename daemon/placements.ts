/** A generation's slots: one on each of its listeners. */
import type { Listener } from "../handoff/listener.ts";
import type { GenerationRecord } from "./generation-record.ts";
import type { Placement } from "./verification.ts";

/** Where each is, and which socket that is. */
export function placesOf(placements: readonly Placement[]): Pick<GenerationRecord, "slots" | "cookies"> {
  return {
    slots: Object.fromEntries(placements.map(({ listener, slot }) => [listener.name, slot.index])),
    cookies: Object.fromEntries(placements.map(({ listener, slot }) => [listener.name, String(slot.cookie)])),
  };
}

/** The slots that the record says are this owner's; what the listeners do not have any more is left out. */
export function reclaimSlots(
  slots: GenerationRecord["slots"],
  owner: string,
  listeners: ReadonlyMap<string, Listener>,
): Placement[] {
  return Object.entries(slots).flatMap(([name, index]) => {
    const listener = listeners.get(name);
    const slot = listener?.slots[index];
    if (listener === undefined || slot === undefined) return [];
    slot.owner = owner;
    return [{ listener, slot }];
  });
}
