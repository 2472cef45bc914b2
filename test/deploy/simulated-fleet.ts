/**
 * A fleet in virtual time whose daemon may die before or after any write or act, and comes back. What survives is what
 * would: the record, the generations and the kernel's weights. A verification under way, its outcome and the alarm
 * that was asked for do not. Whatever must never happen is collected in `violations`.
 */
import { type Deployment, hasHadUsers, isTerminal, type Wish } from "../../deploy/deployment.ts";
import { type CandidateView, type Fleet, isEnding, isOver, type Observation } from "../../deploy/fleet.ts";
import { Runner } from "../../deploy/runner.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import { Generation, VirtualTime, type WorldScript } from "./simulated-world.ts";

export type Order = Wish | "pause" | "continue";

export interface Script extends WorldScript {
  /** One for each attempt, then from the beginning again. */
  readonly verifications: readonly {
    readonly takes: number;
    readonly outcome: "passed" | "failed" | "hangs";
  }[];
  readonly orders: readonly { readonly at: number; readonly ask: Order }[];
  /** The daemon dies at its n-th operation, before or after that was done, and is away for a while. */
  readonly deaths: readonly { readonly operation: number; readonly done: boolean; readonly away: number }[];
}

class DaemonDied extends Error {}

export class SimulatedFleet implements Fleet {
  readonly violations: string[] = [];
  readonly previous: Generation | null;
  candidate: Generation | null = null;
  disk: Deployment;
  /** How often a runner said that the deploy has ended. */
  endings = 0;
  readonly #time = new VirtualTime();
  readonly #script: Script;
  #runner: Runner | null = null;
  /** Counts the daemon's lives: what was in the memory of an earlier one does not happen. */
  #life = 0;
  #operations = 0;
  #attempts = 0;
  #verification: CandidateView["verification"] = "none";
  #hasPassed = false;
  #promotions = 0;
  #alarm: object | null = null;

  constructor(script: Script, deployment: Deployment) {
    this.#script = script;
    this.disk = deployment;
    this.previous = deployment.from === null ? null : new Generation(script, this.#later).serveAsPrevious();
    this.#time.later(0, () => this.#recover());
    for (const { at, ask } of script.orders) this.#time.later(at, () => this.#order(ask));
  }

  /** Lets everything happen that will. */
  run(): this {
    this.#mustNot(!this.#time.run(), "never comes to rest");
    this.#mustNot(this.#runner === null, "is left without a daemon");
    return this;
  }

  observe(): Observation {
    const candidate = this.candidate && { ...this.candidate.view, verification: this.#verification };
    return { now: this.#time.now, candidate, previous: this.previous?.view ?? null };
  }

  record(deployment: Deployment): void {
    this.#operation(() => {
      this.#mustNot(isTerminal(this.disk), "changes a deploy that has ended");
      this.disk = deployment;
      if (isTerminal(deployment)) this.#checkEnd(deployment);
    });
  }

  start(): void {
    this.#act(() => {
      this.#mustNot(this.candidate !== null, "starts a second candidate");
      this.candidate = new Generation(this.#script, this.#later).startAsCandidate();
    });
  }

  verify(): void {
    this.#act(() => {
      this.#verification = "running";
      const attempt = this.#script.verifications[this.#attempts++ % this.#script.verifications.length];
      if (attempt === undefined || attempt.outcome === "hangs") return;
      const { takes, outcome } = attempt;
      this.#inMemory(takes, () => {
        this.#verification = outcome;
        if (outcome === "passed") this.#hasPassed = true;
        return true;
      });
    });
  }

  weigh(deployment: Deployment, share: number): void {
    this.#act(() => {
      const { candidate, previous } = this;
      this.#mustNot(this.disk.weight !== share, "gives a weight that is not on record");
      this.#mustNot(share > 0 && !this.#hasPassed, "gives weight to a candidate that has not been proved");
      if (candidate === null) return;
      const takes = share > candidate.weight ? candidate : previous;
      const isGone = takes === null || isEnding(takes.view);
      this.#mustNot(share !== candidate.weight && isGone, "gives weight to a generation that is over");
      if (candidate.weight === 0 && share > 0) {
        this.#mustNot(++this.#promotions > 1, "promotes twice");
        const isNeeded = previous !== null && isEnding(previous.view);
        this.#mustNot(deployment.paused && !isNeeded, "gives users to the candidate in a pause");
        const hasOther = previous !== null && !isNeeded;
        this.#mustNot(candidate.ready === 0 && hasOther, "gives users to a candidate that is not ready");
      }
      candidate.weight = share;
      if (previous !== null) previous.weight = 1 - share;
    });
  }

  retire(deployment: Deployment, which: "candidate" | "previous"): void {
    this.#act(() => {
      const { phase } = deployment;
      this.#mustNot((this[which]?.weight ?? 0) > 0, `retires the ${which} generation while it has weight`);
      this.#mustNot(
        which === "previous" && phase !== "draining",
        "retires the previous generation too early",
      );
      this[which]?.retire();
    });
  }

  wake(_deployment: Deployment, at: number | null): void {
    this.#operation(() => {
      const alarm = {};
      this.#alarm = alarm;
      if (at === null) return;
      this.#mustNot(at <= this.#time.now, "asks to be woken in the past");
      this.#inMemory(at - this.#time.now, () => alarm === this.#alarm);
    });
  }

  #checkEnd({ phase, phases }: Deployment): void {
    const { candidate, previous } = this;
    if (phase === "succeeded") {
      this.#mustNot(candidate?.weight !== 1, "has succeeded without the weight");
      this.#mustNot(previous !== null && !isOver(previous.state), "has succeeded before the drain");
    } else {
      this.#mustNot(candidate !== null && !isEnding(candidate.view), "has ended and forgotten its candidate");
      const wentBack = phases.some((each) => each.phase === "rolling-back");
      this.#mustNot(
        wentBack && candidate !== null && !isOver(candidate.state),
        "is back before its candidate has ended",
      );
    }
  }

  #mustNot(isWrong: boolean, sentence: string): void {
    if (isWrong) this.violations.push(`${sentence} (${this.disk.phase} at ${this.#time.now})`);
  }

  /** A change is told at once, so in the middle of the runner's own act too. */
  #act(effect: () => void): void {
    this.#operation(effect);
    this.#runner?.advance();
  }

  #operation(effect: () => void): void {
    const operation = this.#operations++;
    const death = this.#script.deaths.find((each) => each.operation === operation);
    if (death === undefined || death.done) effect();
    if (death === undefined) return;
    this.#runner = null;
    this.#life++;
    this.#verification = "none";
    this.#time.later(death.away, () => this.#recover());
    throw new DaemonDied();
  }

  #recover(): void {
    this.#runner = new Runner(this, this.disk, () => this.endings++);
    this.#inDaemon((runner) => runner.advance());
  }

  #inDaemon(what: (runner: Runner) => void): void {
    if (this.#runner === null) return;
    try {
      what(this.#runner);
    } catch (error) {
      if (!(error instanceof DaemonDied)) throw error;
    }
  }

  #order(ask: Order): void {
    this.#inDaemon((runner) => {
      const before = runner.deployment;
      try {
        if (ask === "pause" || ask === "continue") runner[ask]();
        else runner.request(ask);
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        this.#mustNot(runner.deployment !== before, `refuses to ${ask} and changes the deploy`);
        return;
      }
      const isBack = hasHadUsers(before) && (ask === "rollback" || ask === "abort");
      this.#mustNot(isBack && this.previous?.weight !== 1, `returns from ${ask} before the weights are back`);
    });
  }

  /** Happens whatever becomes of the daemon, which hears of it if it is there. */
  readonly #later: VirtualTime["later"] = (delay, happen) => {
    this.#time.later(delay, () => {
      happen();
      this.#inDaemon((runner) => runner.advance());
    });
  };

  /** Happens unless the daemon dies first; it hears of it if `happen` says so. */
  #inMemory(delay: number, happen: () => boolean): void {
    const life = this.#life;
    this.#time.later(delay, () => {
      if (life === this.#life && happen()) this.#inDaemon((runner) => runner.advance());
    });
  }
}
