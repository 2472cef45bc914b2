/**
 * The deploys of one service: the records of all that are remembered, and the runners of those that are under way. Every change of a
 * record is followed by an event that bears its id.
 */
import { deployUnknown } from "../admin-api/errors.ts";
import { type Deployment, isActive, isTerminal, phaseStartedAt, type Wish } from "../deploy/deployment.ts";
import type { Fleet } from "../deploy/fleet.ts";
import { endInterrupted } from "../deploy/interruption.ts";
import { Runner } from "../deploy/runner.ts";

import type { Surroundings } from "./surroundings.ts";

/** Ended deploys that are remembered, for `history` and `rollback`. */
const REMEMBERED = 100;
/** How long a deploy that cannot go on (its state cannot be written) waits before it tries again. */
const RETRY_MS = 1_000;

export class Deploys {
  readonly #fleet: Fleet;
  readonly #surroundings: Surroundings;
  readonly #onEnded: (deployment: Deployment) => void;
  readonly #runners = new Map<string, Runner>();
  readonly #wakes = new Map<string, NodeJS.Timeout>();
  #isPaused = false;
  /** The newest first. */
  #all: readonly Deployment[] = [];

  constructor(fleet: Fleet, onEnded: (deployment: Deployment) => void, surroundings: Surroundings) {
    this.#fleet = fleet;
    this.#onEnded = onEnded;
    this.#surroundings = surroundings;
  }

  /** The newest first. */
  get all(): readonly Deployment[] {
    return this.#all;
  }

  /** The one that stands in the way of another; null when there is none. */
  get active(): Deployment | null {
    const latest = this.#all[0];
    return latest !== undefined && isActive(latest) ? latest : null;
  }

  /** Whether a deploy that is under way looks at this generation. */
  watches(generation: number): boolean {
    return [...this.#runners.values()].some(
      ({ deployment }) => deployment.to === generation || deployment.from === generation,
    );
  }

  find(id: string): Deployment {
    const found = this.#all.find((deployment) => deployment.id === id);
    if (found === undefined) throw deployUnknown(id);
    return found;
  }

  /** Takes over what was remembered; `goOn` sets those going that have not ended. */
  restore(remembered: readonly Deployment[]): void {
    this.#all = remembered;
  }

  /** Ends what was under way when the daemon and every process ended together. The records are written with the next one. */
  endInterrupted(now: number): void {
    this.#all = this.#all.map((deployment) => endInterrupted(deployment, now));
  }

  goOn(): void {
    for (const deployment of this.#all.toReversed()) {
      if (!isTerminal(deployment)) this.#run(deployment);
    }
    this.advance();
  }

  /** Begins a deploy, whose record is new. */
  begin(deployment: Deployment): Deployment {
    this.#fleet.record(deployment);
    this.#advance(this.#run(deployment));
    return this.find(deployment.id);
  }

  /** When it returns, what could follow at once has been done. Throws the refusal as a CodedError. */
  ask(id: string, wish: Wish | "pause" | "continue"): Deployment {
    // One that has ended has no runner; the rules of deploy/ say why nothing can be asked of it.
    const runner = this.#runners.get(id) ?? new Runner(this.#fleet, this.find(id));
    if (wish === "pause") runner.pause();
    else if (wish === "continue") runner.continue();
    else runner.request(wish);
    return this.find(id);
  }

  /** Lets every deploy take the steps that can be taken now. */
  advance(): void {
    if (this.#isPaused) return;
    for (const runner of [...this.#runners.values()]) this.#advance(runner);
  }

  #advance(runner: Runner): void {
    try {
      runner.advance();
    } catch (error) {
      // The deploy is where it was: it goes on with the next change, or soon.
      const { deployment } = runner;
      this.#surroundings.log.error({ err: error, deploy: deployment.id }, "a deploy cannot go on");
      this.wake(deployment, Date.now() + RETRY_MS);
    }
  }

  wake({ id }: Deployment, at: number | null): void {
    const pending = this.#wakes.get(id);
    if (pending !== undefined) clearTimeout(pending);
    this.#wakes.delete(id);
    if (at === null) return;
    this.#wakes.set(
      id,
      setTimeout(() => this.advance(), Math.max(0, at - Date.now())),
    );
  }

  /** Nobody is woken any more. */
  stop(): void {
    for (const timer of this.#wakes.values()) clearTimeout(timer);
    this.#wakes.clear();
  }

  /** No deploy takes a step until `unpause`. */
  pause(): void {
    this.#isPaused = true;
    this.stop();
  }

  unpause(): void {
    this.#isPaused = false;
    this.advance();
  }

  /** Replaces the record and has it written; when writing fails, the old one stands. */
  record(deployment: Deployment, write: () => void): void {
    const before = this.#all;
    const known = before.find(({ id }) => id === deployment.id);
    this.#all =
      known === undefined
        ? [deployment, ...before].slice(0, REMEMBERED)
        : before.map((each) => (each === known ? deployment : each));
    try {
      write();
    } catch (error) {
      this.#all = before;
      throw error;
    }
    this.#say(known, deployment);
  }

  #run(deployment: Deployment): Runner {
    const runner = new Runner(this.#fleet, deployment, (ended) => {
      this.wake(ended, null);
      this.#runners.delete(ended.id);
      this.#surroundings.tally.deployEnded(ended.service, ended.strategy, ended.phase);
      this.#onEnded(ended);
    });
    this.#runners.set(deployment.id, runner);
    return runner;
  }

  #say(before: Deployment | undefined, after: Deployment): void {
    const where = { service: after.service, deploy: after.id, generation: after.to, phase: after.phase };
    if (before?.phase === after.phase) {
      const asked = after.wish === null ? "" : `, asked to ${after.wish}`;
      const message = `deploy ${after.id}: weight ${after.weight}${asked}${after.paused ? ", paused" : ""}`;
      this.#surroundings.say({ type: "deploy.changed", message, ...where });
      return;
    }
    const last = after.phases.at(-2);
    if (before !== undefined && last !== undefined) {
      const seconds = (phaseStartedAt(after) - last.startedAt) / 1000;
      this.#surroundings.tally.phaseEnded(after.service, last.phase, seconds);
    }
    const isBad = after.phase === "failed" || after.phase === "rolling-back" || after.phase === "aborted";
    const why = after.reason === null ? {} : { code: after.reason.code };
    const reason = after.reason === null ? "" : `: ${after.reason.message}`;
    this.#surroundings.say(
      { type: "deploy.phase", message: `deploy ${after.id}: ${after.phase}${reason}`, ...where, ...why },
      isBad ? "warn" : "info",
    );
  }
}
