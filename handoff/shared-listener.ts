/** A listener of one socket, which all generations share: nothing can be steered, so there are no weights and no gate. */
import {
  assertBlind,
  keepSlots,
  type Listener,
  type ListenerOptions,
  NO_PINS,
  type ProbeTarget,
  slotName,
} from "./listener.ts";
import type { Slot } from "./slot.ts";
import type { Share, SteerOptions, Steering } from "./steering.ts";

const NOTHING: ReadonlySet<string> = new Set();

export class SharedListener implements Listener {
  readonly name: string;
  readonly protocol: "tcp" | "unix";
  readonly mode = "shared";
  readonly address: string;
  readonly shares: readonly Share[] = [{ slot: 0, share: 1 }];
  #options: ListenerOptions;
  readonly #slot: Slot;
  readonly #target: ProbeTarget;
  #open = true;

  /** `target`: how to reach it, which is to reach any generation. Owns the slot. */
  constructor(
    options: ListenerOptions,
    protocol: "tcp" | "unix",
    address: string,
    slot: Slot,
    target: ProbeTarget,
  ) {
    this.name = options.name;
    this.protocol = protocol;
    this.address = address;
    this.#options = options;
    this.#slot = slot;
    this.#target = target;
  }

  get backlog(): number {
    return this.#options.backlog;
  }

  get slots(): readonly Slot[] {
    return this.#open ? [this.#slot] : [];
  }

  get steering(): Steering {
    return { shares: this.shares, sticky: null, guests: null };
  }

  setBacklog(backlog: number): void {
    this.#slot.assertBacklog(backlog);
    this.#options = { ...this.#options, backlog };
  }

  take(owner: string): Promise<Slot> {
    // Whoever had it may go on: that is what shared means. The blocking mode is left alone for the same reason.
    this.#slot.assertBacklog(this.#options.backlog);
    this.#slot.owner = owner;
    return Promise.resolve(this.#slot);
  }

  /** One slot: there is nothing to steer. @throws Error (a bug) when that is asked for all the same. */
  steer(shares: readonly Share[], options: SteerOptions = {}): void {
    assertBlind(this, options);
    if (shares.some(({ share }) => share > 0 && share < 1))
      throw new Error("a shared listener has no weights");
  }

  assertAlone(): void {
    // One slot: there is nothing to join.
  }

  prove(): Promise<void> {
    return Promise.resolve();
  }

  probe(): ProbeTarget {
    return this.#target;
  }

  honourPins(): Disposable {
    return NO_PINS;
  }

  halfOpen(): ReadonlySet<string> {
    return NOTHING;
  }

  living(): null {
    return null;
  }

  keep(): Promise<void> {
    return keepSlots(this, this.#options.keeper());
  }

  async close(): Promise<number> {
    if (!this.#open) return 0;
    this.#open = false;
    try {
      await this.#options.keeper().remove([slotName(this.name, 0)]);
      return this.#slot.queue.length;
    } finally {
      this.#slot.close();
    }
  }
}

/** Gives its slot to the keeper. On a failure it is closed, and the error thrown. */
export async function holdShared<T extends SharedListener>(listener: T): Promise<T> {
  try {
    await listener.keep();
    return listener;
  } catch (error) {
    for (const slot of listener.slots) slot.close();
    throw error;
  }
}
