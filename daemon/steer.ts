/** Weights on every listener of a service at once: all of them, or none. */
import { isFree, type Listener } from "../handoff/listener.ts";
import { refusesNew } from "../handoff/refuse.ts";
import type { Share } from "../handoff/steering.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Placement } from "./verification.ts";

/**
 * Gives the candidate this share on each of its listeners, and the previous generation (or, where it has no slot, an idle one,
 * in which connections then wait) the rest. Throws when a listener cannot be steered, and then none is.
 */
export function steer(candidate: readonly Placement[], previous: readonly Placement[], share: number): void {
  const steered: { readonly listener: Listener; readonly before: readonly Share[] }[] = [];
  try {
    for (const { listener, slot } of candidate) {
      const before = listener.shares;
      listener.steer(sharesOf(listener, slot.index, previous, share));
      steered.push({ listener, before });
    }
  } catch (error) {
    for (const { listener, before } of steered) listener.steer(before);
    throw error;
  }
}

/**
 * Before everything ends: new connections wait in an idle slot, so that the others' queues become empty. Where that cannot be
 * done they go on to a slot that is being drained, which is no reason not to drain.
 */
export function holdAside(listener: Listener, surroundings: Surroundings): void {
  const idle = listener.slots.find((slot) => isFree(listener, slot));
  if (idle === undefined || listener.mode === "shared" || refusesNew(listener)) return;
  try {
    listener.steer([{ slot: idle.index, share: 1 }]);
  } catch (error) {
    surroundings.log.error({ err: error, listener: listener.name }, "new connections cannot be held aside");
  }
}

function sharesOf(
  listener: Listener,
  slot: number,
  previous: readonly Placement[],
  share: number,
): readonly Share[] {
  if (share === 1) return [{ slot, share }];
  const other = previous.find((each) => each.listener === listener)?.slot;
  const rest = other ?? listener.slots.find(({ owner }) => owner === null);
  return rest === undefined
    ? [{ slot, share: 1 }]
    : [
        { slot, share },
        { slot: rest.index, share: 1 - share },
      ];
}
