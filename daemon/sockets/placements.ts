/** The slots of one generation: one on each of its service's listeners, shared by all its instances. */
import type { Listener } from "../../handoff/listener.ts";
import type { Slot } from "../../handoff/slot.ts";
import type { Placement } from "../proof/verification.ts";

export class Placements {
  readonly all: Placement[] = [];
  /** SO_MARK values that the connections of these slots bear. */
  readonly marks: number[];
  readonly #owner: string;
  readonly #names: readonly string[];
  readonly #listeners: ReadonlyMap<string, Listener>;

  /** `known`: the slots that are the owner's already, by listener. */
  constructor(
    owner: string,
    names: readonly string[],
    listeners: ReadonlyMap<string, Listener>,
    known: { readonly slots: Readonly<Record<string, number>>; readonly marks: readonly number[] },
  ) {
    this.#owner = owner;
    this.#names = names;
    this.#listeners = listeners;
    this.marks = [...known.marks];
    for (const [name, index] of Object.entries(known.slots)) {
      const listener = listeners.get(name);
      const slot = listener?.slots[index];
      if (listener !== undefined && slot !== undefined) this.#add(listener, slot);
    }
  }

  /** Whether it has one on each listener. */
  get isComplete(): boolean {
    return this.all.length === this.#names.length;
  }

  get indices(): Record<string, number> {
    return Object.fromEntries(this.all.map(({ listener, slot }) => [listener.name, slot.index]));
  }

  /** SO_COOKIE of each, in decimal digits: the kernel gives it only once. */
  get cookies(): Record<string, string> {
    return Object.fromEntries(this.all.map(({ listener, slot }) => [listener.name, String(slot.cookie)]));
  }

  /** Whether the kernel sends new connections to one of them. What is shared gets them whoever has it. */
  get hasShare(): boolean {
    return this.#own.some(({ listener, slot }) => isWeighted(listener, slot));
  }

  /** Connections that wait on them. */
  get queued(): number {
    return this.#own.reduce((sum, { slot }) => sum + slot.queue.length, 0);
  }

  /**
   * Takes what is missing. "free": slots that nobody waits on, whose owner has the gate to itself. "weighted": the slots that
   * new connections wait on and no process serves, with their queues; done when it returns, where there is one.
   * Throws a CodedError (LISTENER_*); what was taken before is then its owner's still.
   */
  async take(which: "free" | "weighted"): Promise<void> {
    for (const name of this.#names) {
      if (this.all.some(({ listener }) => listener.name === name)) continue;
      const listener = this.#listeners.get(name);
      if (listener === undefined) throw new Error(`${this.#owner} without its listener ${name}`);
      const waiting =
        which === "weighted" ? listener.slots.find((slot) => isWaiting(listener, slot)) : undefined;
      if (waiting === undefined) this.#add(listener, await listener.take(this.#owner));
      else this.#claim(listener, waiting);
    }
  }

  /** Applications change the backlog on the description that all share (Node sets 511). */
  assertBacklog(): void {
    for (const { listener, slot } of this.all) slot.assertBacklog(listener.backlog);
  }

  /** `discard`: what waits are our own pinned connections, and nobody's users. */
  giveBack(discard: boolean): void {
    for (const { listener, slot } of this.all) {
      if (discard && listener.mode !== "shared") slot.discardQueue();
      if (slot.owner === this.#owner) slot.owner = null;
    }
    this.all.length = 0;
  }

  get #own(): readonly Placement[] {
    return this.all.filter(({ listener }) => listener.mode !== "shared");
  }

  #claim(listener: Listener, slot: Slot): void {
    slot.assertFresh(listener.backlog);
    this.#add(listener, slot);
  }

  #add(listener: Listener, slot: Slot): void {
    slot.owner = this.#owner;
    this.all.push({ listener, slot });
    if (slot.mark !== 0 && !this.marks.includes(slot.mark)) this.marks.push(slot.mark);
  }
}

function isWaiting(listener: Listener, slot: Slot): boolean {
  return slot.owner === null && listener.mode !== "shared" && isWeighted(listener, slot);
}

function isWeighted(listener: Listener, slot: Slot): boolean {
  return listener.shares.some((share) => share.slot === slot.index && share.share > 0);
}
