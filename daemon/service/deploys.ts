/**
 * The deploys of one service: the records of all that are remembered, and the runners of those that are under way. Every change of a
 * record is followed by an event that bears its id.
 */
import { deployUnknown } from "../../admin-api/errors.ts";
import { type Deployment, isActive, isTerminal, phaseStartedAt, type Wish } from "../../deploy/deployment.ts";
import type { Fleet } from "../../deploy/fleet.ts";
import { endInterrupted } from "../../deploy/interruption.ts";
import { Runner } from "../../deploy/runner.ts";
import { gather, isCounted, type Remembered } from "./evidence.ts";
import type { Generation } from "../generation/generation.ts";
import { openOf } from "../sockets/marks.ts";
import { movedFrom } from "../generation/moves.ts";
import type { Surroundings } from "../surroundings.ts";
import { deployBody } from "../api/view.ts";

/** Ended deploys that are remembered, for `history` and `rollback`. */
const REMEMBERED = 100;
/** How long a deploy that cannot go on (its state cannot be written) waits before it tries again. */
const RETRY_MS = 1_000;

type Owner = Fleet & { readonly generations: readonly Generation[] };

export class Deploys {
  readonly #fleet: Owner;
  readonly #surroundings: Surroundings;
  readonly #onEnded: (deployment: Deployment) => void;
  readonly #runners = new Map<string, Runner>();
  readonly #wakes = new Map<string, NodeJS.Timeout>();
  /** Those that have ended and wait for the history to take them. */
  readonly #unwritten = new Set<string>();
  #isPaused = false;
  /** The newest first. */
  #all: readonly Remembered[] = [];

  constructor(fleet: Owner, onEnded: (deployment: Deployment) => void, surroundings: Surroundings) {
    this.#fleet = fleet;
    this.#onEnded = onEnded;
    this.#surroundings = surroundings;
  }

  /** The newest first. */
  get all(): readonly Remembered[] {
    return this.#all;
  }

  /** The one that stands in the way of another; null when there is none. */
  get active(): Deployment | null {
    const latest = this.#all[0];
    return latest !== undefined && isActive(latest) ? latest : null;
  }

  /** Whether a deploy that is under way looks at this generation, or will once it goes on after the daemon's death. */
  watches(generation: number): boolean {
    const underWay = [
      ...[...this.#runners.values()].map(({ deployment }) => deployment),
      ...this.#all.filter((deployment) => !isTerminal(deployment)),
    ];
    return underWay.some(
      ({ from, to, fallback }) => to === generation || from === generation || fallback === generation,
    );
  }

  find(id: string): Remembered {
    const found = this.#all.find((deployment) => deployment.id === id);
    if (found === undefined) throw deployUnknown(id);
    return found;
  }

  /** Takes over what was remembered; `goOn` sets those going that have not ended. */
  restore(remembered: readonly Remembered[]): void {
    this.#all = remembered;
  }

  /** Ends what was under way when the daemon and every process ended together. The records are written with the next one. */
  endInterrupted(now: number): void {
    this.#all = this.#all.map((deployment) => endInterrupted(deployment, now));
    this.#writeHistory();
  }

  goOn(): void {
    for (const deployment of this.#all.toReversed()) {
      if (!isTerminal(deployment)) this.#run(deployment);
    }
    this.#writeHistory();
    this.advance();
  }

  /** Those that have ended and are not known to be in the history: the daemon may have died before it wrote them there. */
  #writeHistory(): void {
    const missing = this.#all
      .filter((each) => isTerminal(each) && each.isInHistory !== true && !this.#unwritten.has(each.id))
      .toReversed();
    for (const { id } of missing) this.#unwritten.add(id);
    this.#surroundings.history.appendAll(
      missing.map((deployment) => ({
        draft: {
          type: "deploy",
          id: deployment.id,
          service: deployment.service,
          by: deployment.requestedBy,
          deploy: deployBody(deployment),
        },
        onWritten: () => {
          this.#unwritten.delete(deployment.id);
          this.#all = this.#all.map((each) =>
            each.id === deployment.id ? { ...each, isInHistory: true } : each,
          );
        },
      })),
    );
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
    const now = this.#withEvidence(deployment, known);
    this.#all =
      known === undefined
        ? [now, ...before].slice(0, REMEMBERED)
        : before.map((each) => (each === known ? now : each));
    try {
      write();
    } catch (error) {
      this.#all = before;
      throw error;
    }
    this.#say(known, deployment);
  }

  /** With what was known before, and what can be counted where its traffic has moved or it has ended. */
  #withEvidence(deployment: Deployment, known: Remembered | undefined): Remembered {
    const before = known?.evidence;
    if (deployment.phase === known?.phase || !isCounted(deployment))
      return before === undefined ? deployment : { ...deployment, evidence: before };
    const connections = this.#surroundings.connections();
    return {
      ...deployment,
      evidence: gather(before, deployment, (number) => {
        const generation = this.#fleet.generations.find((each) => each.number === number);
        if (generation === undefined) return null;
        const open = openOf(generation.marks, connections);
        generation.traffic.seen(open);
        return { open, traffic: generation.traffic.record, moved: movedFrom(generation.instances).moved };
      }),
    };
  }

  #run(deployment: Deployment): Runner {
    const runner = new Runner(this.#fleet, deployment, (ended) => {
      this.wake(ended, null);
      this.#runners.delete(ended.id);
      const { service, strategy, phase, reason } = ended;
      this.#surroundings.tally.deployEnded(service, strategy, phase, reason?.code ?? null);
      this.#writeHistory();
      this.#onEnded(ended);
    });
    this.#runners.set(deployment.id, runner);
    this.#surroundings.tally.expect(deployment.service, deployment.strategy);
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
