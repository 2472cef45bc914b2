/**
 * A fleet in virtual time whose daemon may die before or after any write or act, and comes back. What survives is what
 * would: the record, the generations and the kernel's weights. A verification under way, its outcome, the analysis and
 * the alarm that was asked for do not. Whatever must never happen (rules.ts) is collected in `violations`.
 */
import { type Deployment, hasHadUsers, isTerminal, isUnderway } from "../../deploy/deployment.ts";
import type { CandidateView, Fleet, Move, Observation, Party } from "../../deploy/fleet.ts";
import { beginJudgement, judge, type Judgement } from "../../deploy/judgement.ts";
import { Runner } from "../../deploy/runner.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import * as rules from "./rules.ts";
import type { Order, Script } from "./scripts.ts";
import { Generation, VirtualTime } from "./simulated-world.ts";

class DaemonDied extends Error {}

export class SimulatedFleet implements Fleet {
  readonly violations: string[] = [];
  readonly previous: Generation | null;
  candidate: Generation | null = null;
  fallback: Generation | null = null;
  hasPassed = false;
  disk: Deployment;
  /** How often a runner said that the deploy has ended. */
  endings = 0;
  /** The candidate's weight over time, while its deploy was under way: what exposure.ts is to say. */
  readonly met = { forMs: 0, weightMs: 0 };
  #metUntil = 0;
  readonly #time = new VirtualTime();
  readonly #script: Script;
  #runner: Runner | null = null;
  /** Counts the daemon's lives: what was in the memory of an earlier one does not happen. */
  #life = 0;
  #operations = 0;
  #attempts = 0;
  #looks = 0;
  #proof: Pick<CandidateView, "verification" | "verificationSince"> = NOT_VERIFIED;
  #analysis: Judgement | null = null;
  #pinned = false;
  #promotions = 0;
  #alarm: object | null = null;

  constructor(script: Script, deployment: Deployment) {
    this.#script = script;
    this.disk = deployment;
    const { from, options } = deployment;
    this.previous = from === null ? null : this.#generation("previous").serve(options.previousInstances);
    if (this.previous !== null) this.previous.weight = 1;
    this.#time.later(0, () => this.#recover());
    for (const { at, ask } of script.orders) this.#time.later(at, () => this.#order(ask));
  }

  /** Lets everything happen that will. */
  run(): this {
    this.#must([
      [!this.#time.run(), "never comes to rest"],
      [this.#runner === null, "is left without a daemon"],
    ]);
    return this;
  }

  observe(): Observation {
    const { candidate, previous, fallback } = this;
    const { placed = false, queueSince = null } = candidate ?? {};
    return {
      now: this.#time.now,
      candidate: candidate && { ...candidate.view, ...this.#proof, placed, queueSince, pinned: this.#pinned },
      previous: previous?.view ?? null,
      fallback: fallback?.view ?? null,
      analysis: this.#analysis,
      nextNumber: 6,
      isLatest: true,
    };
  }

  record(deployment: Deployment): void {
    this.#operation(() => {
      this.#must([[isTerminal(this.disk), "changes a deploy that has ended"]]);
      this.#must(rules.leaving(this.disk, deployment, this, this.#analysis, this.#time.now));
      this.disk = deployment;
      if (isTerminal(deployment)) this.#must(rules.ending(deployment, this));
    });
  }

  start(_move: Move, instances: number): void {
    this.#act(() => {
      this.#must([[this.candidate !== null, "starts a second candidate"]]);
      this.candidate = this.#generation("candidate").start(instances);
    });
  }

  fallBack(deployment: Deployment): void {
    this.#act(() => {
      this.#must([
        [this.fallback !== null, "starts a second fallback"],
        [this.disk.fallback === null, "starts a generation whose number is not on record"],
      ]);
      this.fallback = this.#generation("fallback").start(deployment.options.previousInstances);
      for (const each of [this.candidate, this.previous]) if (each !== null) each.weight = 0;
      this.fallback.weight = 1;
    });
  }

  resize(_deployment: Deployment, which: "candidate" | "previous", instances: number): void {
    this.#act(() => this.#must(rules.floor(this.disk, this, () => this[which]?.resize(instances))));
  }

  verify(_deployment: Deployment, now: number): void {
    this.#act(() => {
      this.#must([[this.#proof.verification === "running", "verifies twice at once"]]);
      this.#proof = { verification: "running", verificationSince: now };
      const attempt = this.#script.verifications[this.#attempts++ % this.#script.verifications.length];
      if (attempt === undefined || attempt.outcome === "hangs") return;
      const { takes, outcome } = attempt;
      this.#inMemory(takes, () => {
        this.#proof = { verification: outcome, verificationSince: now };
        this.hasPassed ||= outcome === "passed";
        return true;
      });
    });
  }

  analyse(_deployment: Deployment, stage: number): void {
    this.#act(() => {
      if (this.#analysis === null) this.#look();
      this.#analysis = beginJudgement(stage, this.#time.now);
    });
  }

  weigh(_move: Move, share: number, pinned: boolean): void {
    this.#act(() => {
      const { candidate, previous, disk } = this;
      this.#must(rules.weighing(disk, this, share, pinned));
      this.#pinned = pinned;
      if (candidate === null) return;
      if (candidate.weight === 0 && share > 0) this.#must([[++this.#promotions > 1, "promotes twice"]]);
      const change = () => {
        candidate.weight = share;
        if (previous !== null) previous.weight = 1 - share;
      };
      this.#must(rules.floor(disk, this, change));
    });
  }

  retire(_move: Move, which: Party): void {
    this.#act(() => {
      this.#must(rules.retiring(this.disk, this, which));
      this[which]?.retire();
    });
  }

  wake(_deployment: Deployment, at: number | null): void {
    this.#operation(() => {
      const alarm = (this.#alarm = {});
      if (at === null) return;
      this.#must([[!(at > this.#time.now && at < Infinity), "asks to be woken in the past, or never"]]);
      this.#inMemory(at - this.#time.now, () => alarm === this.#alarm);
    });
  }

  #generation(which: Party): Generation {
    return new Generation(this.#script[which], this.#time, this.#later);
  }

  #look(): void {
    this.#inMemory(this.#script.everyMs, () => {
      const { samples } = this.#script;
      const verdict = samples[this.#looks++ % samples.length];
      const isOn = this.disk.phase === "shifting" || this.disk.phase === "baking";
      const needed = this.disk.options.analysis?.samples;
      if (this.#analysis === null || verdict === undefined || needed === undefined || !isOn) return false;
      this.#analysis = judge(this.#analysis, { verdict, because: "is" }, needed, this.#time.now);
      this.#look();
      return true;
    });
  }

  #must(broken: readonly (readonly [isBroken: boolean, sentence: string])[]): void {
    for (const [isBroken, sentence] of broken)
      if (isBroken) this.violations.push(`${sentence} (${this.disk.phase} at ${this.#time.now})`);
  }

  /** A change is told at once, so in the middle of the runner's own act too. */
  #act(effect: () => void): void {
    this.#operation(effect);
    this.#must(rules.always(this.disk, this));
    this.#runner?.advance();
  }

  #meet(): void {
    const lasted = this.#time.now - this.#metUntil;
    this.#metUntil = this.#time.now;
    if (!isUnderway(this.disk)) return;
    const weight = this.candidate?.weight ?? 0;
    if (weight > 0 || this.#pinned) this.met.forMs += lasted;
    this.met.weightMs += weight * lasted;
  }

  #operation(effect: () => void): void {
    this.#meet();
    const operation = this.#operations++;
    const death = this.#script.deaths.find((each) => each.operation === operation);
    if (death === undefined || death.done) effect();
    if (death === undefined) return;
    this.#runner = null;
    this.#life++;
    this.#proof = NOT_VERIFIED;
    this.#analysis = null;
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
        this.#must([[runner.deployment !== before, `refuses to ${ask} and changes the deploy`]]);
        return;
      }
      const isBack = hasHadUsers(before) && (ask === "rollback" || ask === "abort");
      const isInstant = before.strategy !== "recreate" || before.from === null;
      const isLate = isBack && isInstant && this.previous?.weight !== 1;
      this.#must([[isLate, `returns from ${ask} too early`]]);
    });
  }

  /** Happens whatever becomes of the daemon, which hears of it if it is there. */
  readonly #later: VirtualTime["later"] = (delay, happen) => {
    this.#time.later(delay, () => {
      happen();
      this.#must(rules.always(this.disk, this));
      this.#inDaemon((runner) => runner.advance());
    });
  };

  /** Happens unless the daemon dies first, which hears of it if `happen` says so. */
  #inMemory(delay: number, happen: () => boolean): void {
    const life = this.#life;
    this.#time.later(delay, () => {
      if (life === this.#life && happen()) this.#inDaemon((runner) => runner.advance());
    });
  }
}

const NOT_VERIFIED = { verification: "none", verificationSince: null } as const;
