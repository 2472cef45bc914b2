/** Waits for the instances of one generation to be ready, and says in words what was missing when they are not in time. */
import type { CodedError } from "../../handoff/coded-error.ts";
import { type Candidate, whyNot } from "./acceptance.ts";
import type { ReadyConfig } from "../config/config.ts";
import { LONGEST_TIMER_MS } from "../generation/ending.ts";
import { readyTimeout } from "../errors.ts";
import { awaitReady } from "./readiness.ts";
import type { Placement } from "./verification.ts";

export interface ReadinessHooks {
  /** The slot has proved that the generation is ready; not called where each instance says so itself (`notify`). */
  readonly onProved: () => void;
  /** Half of the time is over. */
  readonly onSlow: () => void;
  /** The time is over. */
  readonly onLate: (why: CodedError) => void;
  /** Until when instances have asked to be let start, in milliseconds since the epoch; 0: they have not. */
  readonly extendedTo: () => number;
}

export class ReadinessWatch {
  readonly #ready: ReadyConfig;
  readonly #candidate: Candidate;
  readonly #placements: () => readonly Placement[];
  readonly #hooks: ReadinessHooks;
  #deadline: NodeJS.Timeout | null = null;
  #half: NodeJS.Timeout | undefined;

  constructor(
    ready: ReadyConfig,
    candidate: Candidate,
    placements: () => readonly Placement[],
    hooks: ReadinessHooks,
  ) {
    this.#ready = ready;
    this.#candidate = candidate;
    this.#placements = placements;
    this.#hooks = hooks;
  }

  /** Anew, with all of the time. Throws what awaitReady does. */
  async watch(signal: AbortSignal): Promise<void> {
    const ready = this.#ready;
    const configured = performance.now() + ready.timeoutMs;
    const deadline = (): number =>
      Math.max(configured, performance.now() + this.#hooks.extendedTo() - Date.now());
    this.stop();
    this.#wait(deadline);
    this.#half = setTimeout(this.#hooks.onSlow, Math.min(ready.timeoutMs / 2, LONGEST_TIMER_MS));
    if (ready.by === "notify") return;
    await awaitReady(ready, this.#placements(), this.#candidate, deadline, signal);
    this.#hooks.onProved();
  }

  /** Until the deadline, which may have been put off when it comes. */
  #wait(deadline: () => number): void {
    const left = deadline() - performance.now();
    if (left > 0) {
      this.#deadline = setTimeout(() => this.#wait(deadline), Math.min(left, LONGEST_TIMER_MS));
      return;
    }
    this.#deadline = null;
    this.#hooks.onLate(readyTimeout(this.#candidate.name, this.#ready.timeoutMs, this.#whyNot()));
  }

  stop(): void {
    clearTimeout(this.#half);
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    this.#deadline = null;
  }

  #whyNot(): string {
    const [first] = this.#placements();
    if (this.#ready.by === "notify") return "it did not say READY=1 on NOTIFY_SOCKET";
    return first === undefined ? "nothing proves it" : whyNot(first.listener, first.slot, this.#candidate);
  }
}
