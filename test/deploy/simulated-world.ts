/** Virtual time, and generations that boot, exit, blink and die in it as a script says. Knows no daemon. */
import { type GenerationState, type GenerationView, isOver } from "../../deploy/fleet.ts";

/** What becomes of a generation; instants count from its start. */
export interface LifeScript {
  /** Until it has its slots; null: it gets none, and fails. */
  readonly slotsAfter: number | null;
  /** Of each instance, from when it was asked for and has slots; null never comes up. */
  readonly boots: readonly (number | null)[];
  /** An instance exits, and comes back. */
  readonly exits: readonly { readonly at: number; readonly backAfter: number }[];
  readonly dies: number | null;
  /** No instance is ready for a while. */
  readonly blinks: { readonly at: number; readonly lasts: number } | null;
  /** For how long its accept queue is not empty, and from when. */
  readonly queues: { readonly at: number; readonly lasts: number } | null;
  /** Of the generation, or of the instances that a resize takes away. */
  readonly drainMs: number;
}

/** Runs what was put off, in order, and moves the time on. */
export class VirtualTime {
  now = 0;
  readonly #queue: { readonly at: number; readonly happen: () => void }[] = [];

  later(delay: number, happen: () => void): void {
    const at = this.now + delay;
    // Behind those of the same instant: what was put off first happens first.
    const index = this.#queue.findIndex((event) => event.at > at);
    this.#queue.splice(index === -1 ? this.#queue.length : index, 0, { at, happen });
  }

  /** False when there is no end to it. */
  run(): boolean {
    for (let events = 0; events < 10_000; events++) {
      const event = this.#queue.shift();
      if (event === undefined) return true;
      this.now = event.at;
      event.happen();
    }
    return false;
  }
}

interface Instance {
  isReady: boolean;
  isLeaving: boolean;
}

export class Generation {
  weight = 0;
  placed = false;
  exits = 0;
  queueSince: number | null = null;
  readonly #instances = new Set<Instance>();
  readonly #script: LifeScript;
  readonly #time: Pick<VirtualTime, "now">;
  /** As VirtualTime.later, and tells the daemon when it has happened. */
  readonly #later: VirtualTime["later"];
  #booted = 0;
  #wanted = 0;
  #isBlinking = false;
  #hasBeenReady = false;
  #ending: "draining" | "stopped" | "failed" | null = null;

  constructor(script: LifeScript, time: Pick<VirtualTime, "now">, later: VirtualTime["later"]) {
    this.#script = script;
    this.#time = time;
    this.#later = later;
  }

  start(instances: number): this {
    const { slotsAfter, exits, dies, blinks, queues } = this.#script;
    this.#later(slotsAfter ?? 0, () => {
      if (slotsAfter === null) this.#end("failed");
      else this.placed = this.#ending === null;
    });
    for (const { at, backAfter } of exits) this.#later(at, () => this.#lose(backAfter));
    if (dies !== null) this.#later(dies, () => this.#end("failed"));
    if (blinks !== null) this.#during(blinks, (is) => (this.#isBlinking = is));
    if (queues !== null) this.#during(queues, (is) => (this.queueSince = is ? this.#time.now : null));
    this.resize(instances);
    return this;
  }

  /** It has been running for long, all of it. */
  serve(instances: number): this {
    this.start(instances);
    for (const instance of this.#instances) this.#come(instance);
    this.placed = true;
    return this;
  }

  resize(instances: number): void {
    if (this.#ending !== null) return;
    this.#wanted = instances;
    const staying = [...this.#instances].filter(({ isLeaving }) => !isLeaving);
    const surplus = staying.sort((a, b) => Number(b.isReady) - Number(a.isReady)).slice(instances);
    for (const instance of surplus) {
      instance.isLeaving = true;
      this.#later(this.#script.drainMs, () => this.#instances.delete(instance));
    }
    for (let missing = instances - staying.length; missing > 0; missing--) this.#boot();
  }

  retire(): void {
    if (this.#ending !== null) return;
    this.#ending = "draining";
    this.#later(this.#instances.size === 0 ? 0 : this.#script.drainMs, () => this.#end("stopped"));
  }

  get state(): GenerationState {
    if (this.#ending !== null) return this.#ending;
    if (!this.#hasBeenReady) return "starting";
    return this.weight > 0 ? "serving" : "standby";
  }

  /** A process of it runs, or will without being asked for. */
  get isAlive(): boolean {
    return this.#instances.size > 0;
  }

  get ready(): number {
    if (this.#isBlinking || isOver(this.state)) return 0;
    return [...this.#instances].filter(({ isReady, isLeaving }) => isReady && !isLeaving).length;
  }

  get view(): GenerationView {
    const { state, weight, ready, exits } = this;
    const leaving = [...this.#instances].filter(({ isLeaving }) => isLeaving).length;
    return { state, weight, ready, wanted: this.#wanted, leaving, startsUntil: 0, exits, failure: null };
  }

  #boot(): void {
    const instance = { isReady: false, isLeaving: false };
    this.#instances.add(instance);
    const { boots, slotsAfter } = this.#script;
    const boot = boots[this.#booted++ % boots.length] ?? null;
    const slots = this.placed ? 0 : slotsAfter;
    if (boot !== null && slots !== null) this.#later(boot + slots, () => this.#come(instance));
  }

  #come(instance: Instance): void {
    instance.isReady = this.#ending === null;
    if (this.ready >= this.#wanted) this.#hasBeenReady = true;
  }

  #lose(backAfter: number): void {
    const instance = [...this.#instances].find(({ isReady, isLeaving }) => isReady && !isLeaving);
    if (this.#ending !== null || instance === undefined) return;
    instance.isReady = false;
    this.exits++;
    this.#later(backAfter, () => this.#come(instance));
  }

  #during({ at, lasts }: { at: number; lasts: number }, set: (is: boolean) => void): void {
    this.#later(at, () => {
      set(true);
      this.#later(lasts, () => set(false));
    });
  }

  #end(how: "stopped" | "failed"): void {
    if (isOver(this.state)) return;
    this.#ending = how;
    this.#instances.clear();
    this.queueSince = null;
  }
}
