/**
 * The slots that no generation has: who still holds them, and what still arrives on them. An idle slot is watched by the kernel's
 * own word (a listening socket with a queue is readable), never by a timer.
 */
import { isReached, type Listener } from "../../handoff/listener.ts";
import { native, type NativePoll } from "../../handoff/native.ts";
import type { Process } from "../../handoff/process.ts";
import type { Slot } from "../../handoff/slot.ts";
import { acceptLeftovers } from "../generation/acceptor.ts";
import { pause } from "../generation/ending.ts";
import type { Generation } from "../generation/generation.ts";
import type { LookForHolders } from "./holders.ts";
import { holdersOf } from "../proc.ts";
import type { Surroundings } from "../surroundings.ts";

const ATTEMPTS = 3;
const RETRY_MS = 1_000;
const PATIENCE_MS = 2_000;

export class IdleSlots {
  readonly #service: string;
  /** Those that the service's next generation will have. */
  readonly #listeners: () => readonly Listener[];
  readonly #surroundings: Surroundings;
  readonly #current: () => Generation | null;
  readonly #polls = new Map<Slot, NativePoll>();
  readonly #accepting = new Set<Promise<void>>();
  readonly #acceptors = new Set<Process>();
  /** Slots that no acceptor could empty: not tried again before generations or weights change. */
  readonly #stuck = new Set<Slot>();
  #stopping = new AbortController();

  constructor(
    service: string,
    listeners: () => readonly Listener[],
    current: () => Generation | null,
    surroundings: Surroundings,
  ) {
    this.#service = service;
    this.#listeners = listeners;
    this.#current = current;
    this.#surroundings = surroundings;
  }

  /** Looks again at every slot that nobody has: to be called when generations end and when weights change. */
  review(): void {
    this.#stuck.clear();
    this.#watchIdle();
  }

  /**
   * Finds out who else holds the slots that nobody has, and those that are about to be given back: such a slot is not
   * given away. `look`: what a start knows already.
   */
  async findHolders(givenBack: readonly Slot[] = [], look?: LookForHolders): Promise<void> {
    const idle = this.#listeners()
      .filter(({ mode }) => mode !== "shared")
      .flatMap(({ slots }) => slots.filter((slot) => slot.owner === null || givenBack.includes(slot)));
    const inodes = new Set(idle.map(({ inode }) => inode));
    const found = await (look?.() ?? holdersOf(inodes, this.#surroundings.keepers()));
    for (const slot of idle) {
      if (slot.owner !== null && !givenBack.includes(slot)) continue; // It was given away meanwhile.
      const holders = found.get(slot.inode) ?? [];
      if (holders.length > 0 && slot.holders.length === 0) {
        const names = holders.map(({ pid, command }) => `pid ${pid} (${command})`).join(", ");
        this.#surroundings.say(
          {
            type: "slot.held",
            service: this.#service,
            code: "SLOT_HELD",
            message: `slot ${slot.index} is still held by ${names}, which outlived its generation; it is not used again until that ends`,
          },
          "warn",
        );
      }
      slot.holders = holders;
    }
  }

  /** Looks whether slots that were held are free by now. Costs nothing where none was. */
  async reviewHeld(): Promise<void> {
    const isHeld = this.#listeners().some(({ slots }) => slots.some(({ holders }) => holders.length > 0));
    if (isHeld) await this.findHolders();
  }

  /** Watches nothing any more; returns when no acceptor runs. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const slot of [...this.#polls.keys()]) this.#forget(slot);
    await Promise.all(this.#accepting);
  }

  /**
   * As `stop`, but an acceptor that has more to do than can be waited for is told to finish, and left. Whoever recovers finds
   * its slot held until it has ended.
   */
  async pause(): Promise<void> {
    await Promise.race([this.stop(), pause(PATIENCE_MS)]);
    const signal = this.#current()?.config.drain.signal ?? "SIGTERM";
    for (const process of this.#acceptors) process.kill(signal);
  }

  unpause(): void {
    this.#stopping = new AbortController();
    this.review();
  }

  /** Ends every acceptor at once. */
  kill(): void {
    for (const process of this.#acceptors) process.killGroup("SIGKILL");
  }

  #watchIdle(): void {
    const slots = new Set(this.#listeners().flatMap((listener) => listener.slots));
    for (const slot of [...this.#polls.keys()]) if (!slots.has(slot)) this.#forget(slot);
    for (const listener of this.#listeners()) {
      if (listener.mode === "shared") continue;
      for (const slot of listener.slots) {
        // Without a generation that serves nobody could take what waits; the next one is a change of the weights.
        const isServed = this.#current()?.config.listeners.includes(listener.name) === true;
        const isWatched = isServed && isIdle(listener, slot) && !this.#stuck.has(slot);
        if (isWatched && !this.#stopping.signal.aborted) this.#watch(listener, slot);
        else this.#forget(slot);
      }
    }
  }

  #watch(listener: Listener, slot: Slot): void {
    if (this.#polls.has(slot)) return;
    const poll = new native.Poll(slot.fd, () => {
      this.#forget(slot);
      if (!isIdle(listener, slot) || this.#stopping.signal.aborted) return;
      const work = this.#take(listener, slot).then(
        () => {
          this.#accepting.delete(work);
          this.#watchIdle();
          this.#surroundings.changed();
        },
        (error: unknown) => {
          this.#accepting.delete(work);
          this.#stuck.add(slot);
          this.#surroundings.log.error({ err: error, listener: listener.name }, "a fault");
        },
      );
      this.#accepting.add(work);
    });
    this.#polls.set(slot, poll);
    poll.start();
    poll.unref();
  }

  #forget(slot: Slot): void {
    this.#polls.get(slot)?.close();
    this.#polls.delete(slot);
  }

  async #take(listener: Listener, slot: Slot): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const current = this.#current();
      dropDead(listener, slot);
      if (current === null || slot.queue.length === 0 || this.#stopping.signal.aborted) return;
      const left = await acceptLeftovers({ listener, slot }, current, this.#acceptors, this.#surroundings);
      if (left === 0) return;
      await pause(RETRY_MS, this.#stopping.signal);
    }
    this.#stuck.add(slot);
    this.#surroundings.say(
      {
        type: "slot.stuck",
        service: this.#service,
        listener: listener.name,
        code: "SLOT_STUCK",
        message: `${slot.queue.length} connections wait on slot ${slot.index} of ${listener.name} and no acceptor takes them; the next deploy tries again`,
      },
      "error",
    );
  }
}

/** Nobody has the slot, and new connections go elsewhere. */
function isIdle(listener: Listener, slot: Slot): boolean {
  return slot.owner === null && !isReached(listener.steering, slot.index);
}

/**
 * Whoever was reset while it waited needs no acceptor: most of all our own pinned connections, on a slot whose generation had been told
 * to end when the daemon died. The queue is counted first: what has come since is behind those, and stays.
 */
function dropDead(listener: Listener, slot: Slot): void {
  if (slot.holders.length > 0) return; // Whoever else has the slot may be accepting.
  const { length } = slot.queue;
  if (length > 0 && listener.living(slot) === 0) slot.discardQueue(length);
}
