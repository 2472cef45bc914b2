/**
 * The port between deciding and acting. `Observation` is all that a strategy may know; `Fleet` is all that a
 * deploy may do to the world. The daemon's service implements it; so does the simulated fleet of the tests.
 */
import type { Deployment, Reason } from "./deployment.ts";

export type GenerationState = "starting" | "standby" | "serving" | "draining" | "stopped" | "failed";

/** standby: ready, weight 0 · serving: ready, weight > 0. */
export interface GenerationView {
  readonly state: GenerationState;
  /** Its share of new connections as the kernel has it now, 0..1; nothing is exactly 0 and everything exactly 1. */
  readonly weight: number;
  /** Instances that are ready now (after a recovery: as last known), and how many there should be. */
  readonly ready: number;
  readonly wanted: number;
  /** Unexpected exits of its instances so far. */
  readonly exits: number;
  /** Why it failed or was found wanting by its verification, or the last exit's reason. */
  readonly failure: Reason | null;
}

export interface CandidateView extends GenerationView {
  /** Not part of any record: after the daemon's death it is "none" again, in whatever phase. */
  readonly verification: "none" | "running" | "passed" | "failed";
}

/** Told to end, or ended: whatever it was, no connection may be sent its way any more. */
export function isEnding({ state }: GenerationView): boolean {
  return state === "draining" || isOver(state);
}

/** No process of it is left. */
export function isOver(state: GenerationState): boolean {
  return state === "stopped" || state === "failed";
}

export interface Observation {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** The generation `to`; null until it was started. A generation that has ended stays visible as stopped or failed. */
  readonly candidate: CandidateView | null;
  /** The generation `from`; null when there is none. */
  readonly previous: GenerationView | null;
}

/** What to do next. Each is idempotent, so that a step that a crash interrupted is simply taken again. */
export type Step =
  /** Start the candidate on free slots, at weight 0. */
  | { readonly do: "start" }
  /** Prove the candidate: it accepts on our socket, the configured probes and commands pass. */
  | { readonly do: "verify" }
  /** The candidate gets this share of new connections, the previous generation the rest. */
  | { readonly do: "weigh"; readonly candidate: number }
  /**
   * End a generation: at once for one that never had a user, through the drain for the others. The reason is recorded
   * first; without it a crash between this act and the next phase would leave a deploy that no longer knows why.
   */
  | { readonly do: "retire"; readonly generation: "candidate" | "previous"; readonly reason: Reason | null }
  | { readonly do: "enter"; readonly phase: Deployment["phase"]; readonly reason: Reason | null }
  /** Nothing until something changes, or until `until` (milliseconds since the epoch). */
  | { readonly do: "wait"; readonly until: number | null };

export interface Fleet {
  observe(deployment: Deployment): Observation;
  /**
   * Writes the record. Returns when it is written: it is called before the act that it describes. Calls nobody back.
   * When it throws, that act is not done and the deploy stays where it was.
   */
  record(deployment: Deployment): void;
  /**
   * The acts below begin something and return; what came of it is seen by `observe`. They do not throw. That something
   * began is seen at once: a started candidate is not null, its verification not "none", a retired generation
   * draining or over. They may call `Runner.advance()`.
   */
  start(deployment: Deployment): void;
  verify(deployment: Deployment): void;
  /** Done when it returns: the next connection already follows the new weights. */
  weigh(deployment: Deployment, candidate: number): void;
  retire(deployment: Deployment, generation: "candidate" | "previous"): void;
  /** Asks for `Runner.advance()` at this instant; replaces what was asked before; null asks for nothing. */
  wake(deployment: Deployment, at: number | null): void;
}
