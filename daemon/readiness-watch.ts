/** Waits for the instances of one generation to be ready, and says in words what was missing when they are not in time. */
import type { CodedError } from "../handoff/coded-error.ts";
import { type Candidate, whyNot } from "./acceptance.ts";
import type { ReadyConfig } from "./config/config.ts";
import { readyTimeout } from "./errors.ts";
import { awaitReady } from "./readiness.ts";
import type { Placement } from "./verification.ts";

export interface ReadinessHooks {
  /** The slot has proved that the generation is ready; not called where each instance says so itself (`notify`). */
  readonly onProved: () => void;
  /** The time is over. */
  readonly onLate: (why: CodedError) => void;
}

export class ReadinessWatch {
  readonly #ready: ReadyConfig;
  readonly #candidate: Candidate;
  readonly #placements: () => readonly Placement[];
  readonly #hooks: ReadinessHooks;
  #deadline: NodeJS.Timeout | null = null;

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
    const deadline = performance.now() + ready.timeoutMs;
    this.stop();
    this.#deadline = setTimeout(() => {
      this.#hooks.onLate(readyTimeout(this.#candidate.name, ready.timeoutMs, this.#whyNot()));
    }, ready.timeoutMs);
    if (ready.by === "notify") return;
    await awaitReady(ready, this.#placements(), this.#candidate, deadline, signal);
    this.#hooks.onProved();
  }

  stop(): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    this.#deadline = null;
  }

  #whyNot(): string {
    const [first] = this.#placements();
    if (this.#ready.by === "notify") return "it did not say READY=1 on NOTIFY_SOCKET";
    return first === undefined ? "nothing proves it" : whyNot(first.listener, first.slot, this.#candidate);
  }
}
