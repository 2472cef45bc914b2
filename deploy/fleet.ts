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
  /**
   * Instances that are ready now (after a recovery: as last known), and how many there should be. Those that a resize
   * has told to end are in neither. None should be: its slots are taken, and no process of it was ever started.
   */
  readonly ready: number;
  readonly wanted: number;
  /** Instances that a resize has told to end and that still run. */
  readonly leaving: number;
  /** Until when instances that start have asked to be waited for, whatever the limit; 0: they have not. */
  readonly startsUntil: number;
  /** Unexpected exits of its instances so far. */
  readonly exits: number;
  /** Why it failed or was found wanting by its verification, or the last exit's reason. */
  readonly failure: Reason | null;
}

export interface CandidateView extends GenerationView {
  /** It has its slots: taking them may need new ones, which takes a moment. */
  readonly placed: boolean;
  /** Of the last one. Not part of any record: after the daemon's death it is "none" again, in whatever phase. */
  readonly verification: "none" | "running" | "passed" | "failed";
  /** The instant that `verify` was given; null while `verification` is "none". */
  readonly verificationSince: number | null;
  /** Since when its accept queue, on any listener, was not found empty; null: it is empty, or nobody has looked. */
  readonly queueSince: number | null;
  /** Whether the pinned networks reach it, as the kernel has it now. */
  readonly pinned: boolean;
}

/** What the analysis says of the candidate. In the daemon's memory only: after its death there is none. */
export interface AnalysisView {
  /** The instant that `analyse` was given: samples from before it do not count. */
  readonly stage: number;
  /** As judgement.ts has it. */
  readonly state: "waiting" | "passing" | "failing" | "no-data";
  /** Good ones, since `stage`. */
  readonly samples: number;
  /** passing, failing: when it came to be. waiting, no-data: since when there has been no verdict. */
  readonly since: number;
  /** Why it fails, or what is missing. */
  readonly reason: Reason | null;
}

/** Told to end, or ended: whatever it was, no connection may be sent its way any more. */
export function isEnding({ state }: Pick<GenerationView, "state">): boolean {
  return state === "draining" || isOver(state);
}

/** No process of it is left. */
export function isOver(state: GenerationState): boolean {
  return state === "stopped" || state === "failed";
}

export function allReady({ ready, wanted }: GenerationView): boolean {
  return ready >= wanted;
}

export interface Observation {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** The generation `to`; null until it was started. A generation that has ended stays visible as stopped or failed. */
  readonly candidate: CandidateView | null;
  /** The generation `from`; null when there is none. */
  readonly previous: GenerationView | null;
  /** The generation `fallback`; null until it was started. */
  readonly fallback: GenerationView | null;
  /** null unless `analyse` was asked for since the daemon began to live. */
  readonly analysis: AnalysisView | null;
  /** The number that the service's next generation would bear. */
  readonly nextNumber: number;
  /** No later deploy of the service has begun: how many instances `from` should have is still this one's to say. */
  readonly isLatest: boolean;
}

export type Party = "candidate" | "previous" | "fallback";

/** What to do next. Each is idempotent, so that a step that a crash interrupted is simply taken again. */
export type Step =
  /** The candidate takes free slots, at weight 0, and so many instances are started on them: perhaps none yet. */
  | { readonly do: "start"; readonly instances: number }
  /** The release of `from`, as generation `number`, takes over the ended candidate's slots, queue and weight, and is started. */
  | { readonly do: "fallBack"; readonly number: number }
  /** Prove the candidate, anew: it accepts on our socket, the configured probes and commands pass. */
  | { readonly do: "verify" }
  /** Begin to sample anew: whatever was counted before does not count. */
  | { readonly do: "analyse" }
  /** The canary's next step is written down: its weight and its pause. The acts follow from the record. */
  | { readonly do: "reach"; readonly step: number }
  /** The candidate gets this share of new connections, the previous generation the rest; and the pinned networks or not. */
  | { readonly do: "weigh"; readonly candidate: number; readonly pinned: boolean }
  /** A generation gets so many instances: the missing are started, and the surplus drain while their siblings go on. */
  | { readonly do: "resize"; readonly generation: "candidate" | "previous"; readonly instances: number }
  /**
   * End a generation: at once for one that never had a user, through the drain for the others. The reason is recorded
   * first; without it a crash between this act and the next phase would leave a deploy that no longer knows why.
   */
  | { readonly do: "retire"; readonly generation: Party; readonly reason: Reason | null }
  | { readonly do: "enter"; readonly phase: Deployment["phase"]; readonly reason: Reason | null }
  /** Nothing until something changes, or until `until` (milliseconds since the epoch). */
  | { readonly do: "wait"; readonly until: number | null };

/** What the acts that hold and recreate share need to know of a deploy. */
export type Move = Pick<Deployment, "from" | "to" | "version">;

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
   *
   * `instances` 0 takes the slots and starts nothing: `wanted` is 0, and the state stays "starting". A generation that
   * cannot get its slots ends as failed.
   */
  start(move: Move, instances: number): void;
  /**
   * Creates generation `deployment.fallback`, with the release, the configuration and the full number of instances
   * that generation `from` was started with, on the slots that hold the weight. It has all weight when this returns.
   */
  fallBack(deployment: Deployment): void;
  /** `now` becomes `verificationSince`. Not asked for while one is running. */
  verify(deployment: Deployment, now: number): void;
  /** `stage` becomes the analysis' own. Sampling ends when the deploy leaves shifting and baking. */
  analyse(deployment: Deployment, stage: number): void;
  /** Done when it returns: the next connection already follows the new weights and pins. */
  weigh(move: Move, candidate: number, pinned: boolean): void;
  /**
   * `wanted` is the new number when it returns. The surplus, those that are not ready first and then the youngest, are
   * told to end as in a drain but for the queue, which is their siblings' too; until they have ended they are
   * `leaving`. They are not unexpected exits. Asked of a generation of 0 it is its start.
   */
  resize(deployment: Deployment, generation: "candidate" | "previous", instances: number): void;
  /**
   * The slots of a generation that has weight (recreate) keep it, and the queue: it is left to whoever takes them
   * over, so its end does not wait for the queue to be empty, and no acceptor serves it.
   */
  retire(move: Move, generation: Party): void;
  /** Asks for `Runner.advance()` at this instant; replaces what was asked before; null asks for nothing. */
  wake(deployment: Deployment, at: number | null): void;
}
