/** Virtual time, and generations that boot, exit, blink and die in it as a script says. Knows no daemon. */
import { type GenerationState, type GenerationView, isOver } from "../../deploy/fleet.ts";

export interface WorldScript {
  readonly wanted: number;
  /** Of each instance, from the start; null never comes up. */
  readonly boots: readonly (number | null)[];
  /** From the start: an instance exits, and comes back. */
  readonly exits: readonly { readonly at: number; readonly backAfter: number }[];
  readonly candidateDies: number | null;
  readonly previousDies: number | null;
  /** No instance of the previous generation is ready for a while. */
  readonly previousBlinks: { readonly at: number; readonly lasts: number } | null;
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
    for (let events = 0; events < 5_000; events++) {
      const event = this.#queue.shift();
      if (event === undefined) return true;
      this.now = event.at;
      event.happen();
    }
    return false;
  }
}

export class Generation {
  weight = 0;
  ready = 0;
  exits = 0;
  #hasBeenReady = false;
  #ending: "draining" | "stopped" | "failed" | null = null;
  readonly #script: WorldScript;
  /** As VirtualTime.later, and tells the daemon when it has happened. */
  readonly #later: VirtualTime["later"];

  constructor(script: WorldScript, later: VirtualTime["later"]) {
    this.#script = script;
    this.#later = later;
  }

  startAsCandidate(): this {
    const { wanted, boots, exits, candidateDies } = this.#script;
    for (let instance = 0; instance < wanted; instance++) {
      const boot = boots[instance % boots.length] ?? null;
      if (boot !== null) this.#later(boot, () => this.#come());
    }
    for (const { at, backAfter } of exits) this.#later(at, () => this.#lose(backAfter));
    if (candidateDies !== null) this.#later(candidateDies, () => this.#end("failed"));
    return this;
  }

  serveAsPrevious(): this {
    const { wanted, previousDies, previousBlinks } = this.#script;
    this.weight = 1;
    for (let instance = 0; instance < wanted; instance++) this.#come();
    if (previousDies !== null) this.#later(previousDies, () => this.#end("failed"));
    if (previousBlinks !== null) {
      this.#later(previousBlinks.at, () => {
        this.ready = 0;
        this.#later(previousBlinks.lasts, () => (this.ready = isOver(this.state) ? 0 : wanted));
      });
    }
    return this;
  }

  retire(): void {
    if (this.#ending !== null) return;
    this.#ending = "draining";
    this.#later(this.#script.drainMs, () => this.#end("stopped"));
  }

  get state(): GenerationState {
    if (this.#ending !== null) return this.#ending;
    if (!this.#hasBeenReady) return "starting";
    return this.weight > 0 ? "serving" : "standby";
  }

  get view(): GenerationView {
    const { state, weight, ready, exits } = this;
    return { state, weight, ready, wanted: this.#script.wanted, exits, failure: null };
  }

  #come(): void {
    if (this.#ending !== null) return;
    this.ready++;
    if (this.ready >= this.#script.wanted) this.#hasBeenReady = true;
  }

  #lose(backAfter: number): void {
    if (this.#ending !== null || this.ready === 0) return;
    this.ready--;
    this.exits++;
    this.#later(backAfter, () => this.#come());
  }

  #end(how: "stopped" | "failed"): void {
    if (isOver(this.state)) return;
    this.#ending = how;
    this.ready = 0;
  }
}
