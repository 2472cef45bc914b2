/**
 * A named address that the daemon owns: a pool of slots. What all kinds share is here; how connections find a slot is
 * the kind's (tcp-listener.ts: steered; unix-listener.ts: renamed, shared).
 *
 * Somebody always has the weight: a generation's slot, or (before the first generation, while the service is held) an
 * idle one, in whose queue connections wait.
 */
import type { ListenerAddress } from "./address.ts";
import type { Descriptor } from "./descriptor.ts";
import type { Keeper } from "./keeper.ts";
import type { Slot } from "./slot.ts";
import type { Share, SteerOptions, Steering } from "./steering.ts";

/**
 * What a listener can do with more than one slot or generation.
 *
 * - steered: any shares, sticky ones too, and guests. TCP.
 * - renamed: one slot has everything, so there is a gate and a queue per generation (blue-green, recreate), and nothing between 0
 *   and 1. Unix sockets with a path.
 * - shared: one socket with one queue, from which whoever accepts takes. Two generations that live at the same time would both
 *   get users, the unproved one at once; so only recreate is possible: connections wait in the queue while neither lives.
 */
export type Mode = "steered" | "renamed" | "shared";

/** How to reach exactly one slot, whatever the weights. */
export type ProbeTarget =
  | {
      readonly kind: "tcp";
      readonly host: string;
      readonly port: number;
      readonly source: string;
      /** Source ports that make the pin, one of which must be bound; empty: any. */
      readonly sourcePorts: readonly number[];
    }
  | { readonly kind: "unix"; readonly path: string };

export interface ListenerOptions {
  readonly name: string;
  readonly address: ListenerAddress;
  readonly backlog: number;
  /** Of a unix socket's path; null: what the umask leaves. */
  readonly mode: number | null;
  readonly gid: number | null;
  /** The next unused SO_MARK; null when connections are not marked. */
  readonly nextMark: (() => number) | null;
  readonly keeper: () => Keeper;
  /** Whether pins are honoured at all times; not where a client outside the host could claim one (route_localnet). */
  readonly alwaysPinned: boolean;
  /** Names a process for an error message: the holder of a socket's inode, null when unknown. */
  readonly holderOf: (inode: number) => string | null;
}

export interface Listener {
  readonly name: string;
  readonly protocol: "tcp" | "unix";
  readonly mode: Mode;
  readonly backlog: number;
  /** As it is bound, with the kernel's choice where port 0 was asked for. */
  readonly address: string;
  readonly slots: readonly Slot[];
  /** The slots that get new connections, with their shares. */
  readonly shares: readonly Share[];
  /** All that decides about a new connection, pins aside: `shares`, and how they are drawn, and guests. */
  readonly steering: Steering;
  /**
   * The lowest free slot, or a new one, for `owner`: fresh, proved, held by the keeper, at weight 0. Throws a
   * CodedError (LISTENER_*), and then nothing has changed.
   */
  take(owner: string): Promise<Slot>;
  /**
   * Replaces the weights and whatever of `options` was in force; done when it returns. The first share is the one that grows:
   * see `SteerOptions.sticky`. A pin goes before guests, and they before the shares. Throws VALUE_INVALID for more
   * than MAX_NETWORKS networks, an Error (a bug) for what the mode cannot do; then nothing has changed.
   */
  steer(shares: readonly Share[], options?: SteerOptions): void;
  /**
   * How many connections may wait in each slot from now on (listen(2) again; the kernel takes net.core.somaxconn at most). What
   * waits already stays, also where it is more.
   */
  setBacklog(backlog: number): void;
  /** Throws LISTENER_FOREIGN_MEMBER when somebody else's socket is in the group. */
  assertAlone(): void;
  /**
   * Throws LISTENER_SLOT_NOT_PROVED unless a pinned connection arrives in exactly this slot. `isOwners` says whether a
   * socket's inode is one of the slot's generation; it is asked where connections bear no mark.
   */
  prove(slot: Slot, isOwners?: (inode: number) => boolean): Promise<void>;
  probe(slot: Slot): ProbeTarget;
  /** Pins work until the result is disposed of, also where they are otherwise off; see `alwaysPinned`. */
  honourPins(): Disposable;
  /** Handshakes of the slot that have begun and are not finished; see settle.ts. */
  halfOpen(slot: Slot): ReadonlySet<string>;
  /**
   * How many connections in the slot's queue still have a client at their other end, at least: one that was reset stays in the queue
   * until it is accepted. null: they cannot be told apart (no marks, not TCP).
   */
  living(slot: Slot): number | null;
  /** Gives every slot to the keeper, a new one that holds nothing yet. */
  keep(): Promise<void>;
  /** Closes every slot: what still waits is lost. Returns how many connections that were. */
  close(): Promise<number>;
}

/** The keeper's name of a slot's socket. */
export function slotName(listener: string, index: number): string {
  return `slot/${listener}/${index}`;
}

/** What a keeper's name says, or null when it names no slot. */
export function parseSlotName(name: string): { readonly listener: string; readonly index: number } | null {
  const match = /^slot\/([^/]+)\/(\d+)$/u.exec(name);
  return match === null ? null : { listener: match[1] ?? "", index: Number(match[2]) };
}

/** For listeners whose slots are reached without a pin. */
export const NO_PINS: Disposable = { [Symbol.dispose]: () => undefined };

/** The slots of one listener that a keeper gave back, in the order of their indices. */
export type KeptSlots = readonly Descriptor[];

/** Whether new connections are sent to this slot, for its share of them or as guests. */
export function isReached({ shares, guests }: Steering, slot: number): boolean {
  return (
    shares.some((share) => share.slot === slot && share.share > 0) ||
    (guests !== null && guests.slot === slot && guests.networks.length > 0)
  );
}

/**
 * Whether a slot can be given to a new generation: nobody has it, nobody waits in it or is about to. A handshake that is
 * finished late would meet a candidate that has proved nothing yet; it can be told to be this slot's only by its mark.
 */
export function isFree(listener: Pick<Listener, "steering" | "halfOpen">, slot: Slot): boolean {
  return (
    slot.owner === null &&
    slot.holders.length === 0 &&
    !isReached(listener.steering, slot.index) &&
    slot.queue.length === 0 &&
    isSettled(listener, slot)
  );
}

function isSettled(listener: Pick<Listener, "halfOpen">, slot: Slot): boolean {
  slot.isSettled ||= slot.mark === 0 || listener.halfOpen(slot).size === 0;
  return slot.isSettled;
}

/**
 * Throws when clients are to be told apart where that is impossible: who connects to a unix socket has no address, and one socket alone
 * is everybody's.
 */
export function assertBlind(
  { mode }: Pick<Listener, "mode">,
  { sticky = null, guests = null }: SteerOptions,
): void {
  if (sticky !== null || guests !== null) throw new Error(`a ${mode} listener cannot tell clients apart`);
}

/** Gives the slots to the keeper, one after the other. */
export async function keepSlots(listener: Pick<Listener, "name" | "slots">, keeper: Keeper): Promise<void> {
  for (const slot of listener.slots) await keeper.put(slotName(listener.name, slot.index), slot.fd);
}
