/** The verification of one generation: once before it has users, and again while it has some. */
import type { CandidateView } from "../../deploy/fleet.ts";
import { commandSpecification } from "./command.ts";
import type { ServiceConfig } from "../config/config.ts";
import type { Surroundings } from "../surroundings.ts";
import { ACCEPT_MS, type Placement, verify } from "./verification.ts";

export interface Proved {
  readonly config: ServiceConfig;
  readonly number: number;
  readonly name: string;
  readonly version: string | null;
  readonly pids: readonly number[];
  readonly placements: readonly Placement[];
}

export class GenerationProof {
  readonly #surroundings: Surroundings;
  #state: CandidateView["verification"] = "none";
  #since: number | null = null;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /** Of the last one. */
  get state(): CandidateView["verification"] {
    return this.#state;
  }

  /** When the last one was asked for, in milliseconds since the epoch. */
  get since(): number | null {
    return this.#since;
  }

  /** As if it had never run: after one that was ended before it was over. */
  reset(): void {
    this.#state = "none";
    this.#since = null;
  }

  /** That it runs is seen when this returns. The promise rejects with a CodedError when it has failed. */
  run(proved: Proved, now: number, signal: AbortSignal): Promise<void> {
    this.#state = "running";
    this.#since = now;
    const { config } = proved;
    const plan = {
      candidate: { name: proved.name, pids: () => proved.pids },
      placements: proved.placements,
      steps: config.verify,
      acceptMs: Math.min(ACCEPT_MS, config.ready.timeoutMs),
      devNull: this.#surroundings.devNull,
      commandSpecification: (command: readonly string[], extra: Readonly<Record<string, string>>) =>
        commandSpecification(proved, command, extra),
    };
    return verify(plan, signal).then(
      () => {
        this.#state = "passed";
      },
      (error: unknown) => {
        this.#state = "failed";
        if (signal.aborted) throw error; // Nobody asks any more.
        this.#surroundings.tally.verificationFailed(config.name);
        throw error;
      },
    );
  }
}
