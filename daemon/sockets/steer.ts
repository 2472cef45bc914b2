/** Weights on every listener of a service at once: all of them, or none. */
import { isFree, type Listener } from "../../handoff/listener.ts";
import type { Network } from "../../handoff/network.ts";
import { refusesNew } from "../../handoff/refuse.ts";
import type { Share, Steering, SteerOptions } from "../../handoff/steering.ts";
import type { Surroundings } from "../surroundings.ts";
import type { Placement } from "../proof/verification.ts";

export interface SteerWish {
  /** The salt by which clients stay with one generation; null: each connection draws anew. */
  readonly sticky?: number | null;
  /** Clients of these networks reach the candidate, whatever its share. */
  readonly networks?: readonly Network[];
}

/**
 * Gives the candidate this share on each of its listeners, and the previous generation (or, where it has no slot, an idle one,
 * in which connections then wait) the rest. Throws when a listener cannot be steered, and then none is.
 *
 * The candidate has the range of the hash that begins at 0: with the same salt nobody moves back while its share grows, and nobody
 * moves to it while its share shrinks.
 */
export function steer(
  candidate: readonly Placement[],
  previous: readonly Placement[],
  share: number,
  wish: SteerWish = {},
): void {
  const steered: { readonly listener: Listener; readonly before: Steering }[] = [];
  try {
    for (const { listener, slot } of candidate) {
      const before = listener.steering;
      listener.steer(sharesOf(listener, slot.index, previous, share), optionsOf(listener, slot.index, wish));
      steered.push({ listener, before });
    }
  } catch (error) {
    for (const { listener, before } of steered) listener.steer(before.shares, before);
    throw error;
  }
}

function optionsOf(listener: Listener, slot: number, wish: SteerWish): SteerOptions {
  const { sticky = null, networks = [] } = wish;
  return {
    // A slot that has all or nothing keeps its clients anyway.
    sticky: listener.mode === "steered" ? sticky : null,
    guests: networks.length === 0 ? null : { slot, networks },
  };
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
