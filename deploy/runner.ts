/**
 * The only actor: takes the strategy's steps, one after the other, through the Fleet port. Everything is synchronous,
 * so that between a decision and its act nothing else happens in this process.
 */
import { type Deployment, enter, isTerminal, reach, stageStartedAt, weigh, type Wish } from "./deployment.ts";
import type { Fleet, Observation, Step } from "./fleet.ts";
import { STRATEGIES, type Strategy } from "./strategy.ts";
import { setPaused, wish } from "./wish.ts";

/** A whole deploy is a dozen steps, and most of them wait for the world in between. More than this is a bug. */
const MAX_STEPS = 64;

export class Runner {
  readonly #fleet: Fleet;
  readonly #strategy: Strategy;
  readonly #onEnded: (deployment: Deployment) => void;
  #deployment: Deployment;
  #isAdvancing = false;
  #calls = 0;

  /**
   * For a new deploy and for one that is recovered: `advance()` begins or goes on. `onEnded` is called once, after the
   * terminal record is written; not for a deployment that had ended before, since that was known.
   */
  constructor(
    fleet: Fleet,
    deployment: Deployment,
    onEnded: (deployment: Deployment) => void = () => undefined,
  ) {
    this.#fleet = fleet;
    this.#strategy = STRATEGIES[deployment.strategy];
    this.#deployment = deployment;
    this.#onEnded = onEnded;
  }

  get deployment(): Deployment {
    return this.#deployment;
  }

  /**
   * Takes every step that can be taken now. To be called after each change of what `observe` shows, and when the
   * instant has come that was asked for by `wake`. A call from within an act is remembered: one more round is made.
   */
  advance(): void {
    this.#calls++;
    if (this.#isAdvancing) return;
    const hadEnded = isTerminal(this.#deployment);
    this.#isAdvancing = true;
    try {
      this.#takeSteps();
    } finally {
      this.#isAdvancing = false;
    }
    if (!hadEnded && isTerminal(this.#deployment)) this.#onEnded(this.#deployment);
  }

  /**
   * Asks, and does what follows at once: when `request("rollback")` or `request("abort")` returns, the next connection
   * is the previous generation's. Throws a CodedError, and has changed nothing, when it cannot be done in this phase.
   */
  request(asked: Wish): void {
    this.#ask((deployment) => wish(deployment, asked, this.#fleet.observe(deployment)));
  }

  /** Holds the deploy at the step it has reached. Throws a CodedError unless it is active. */
  pause(): void {
    this.#hold(true);
  }

  /** Ends a pause; from a canary's step it goes to the next. Throws a CodedError unless the deploy is active. */
  continue(): void {
    this.#hold(false);
  }

  #hold(paused: boolean): void {
    this.#ask((deployment) => setPaused(deployment, paused, this.#fleet.observe(deployment).now));
  }

  #ask(change: (deployment: Deployment) => Deployment): void {
    // From within an act it could not be done before it returns, and that is what it promises.
    if (this.#isAdvancing)
      throw new Error(`deploy ${this.#deployment.id} was asked for something by its own act`);
    this.#record(change(this.#deployment));
    this.advance();
  }

  #takeSteps(): void {
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      const calls = this.#calls;
      const observation = this.#fleet.observe(this.#deployment);
      const step = this.#strategy.next(this.#deployment, observation);
      this.#take(step, observation);
      // A call from within `wake` is about a change that this look at the world may not have seen.
      if (step.do === "wait" && calls === this.#calls) return;
    }
    throw new Error(
      `deploy ${this.#deployment.id} took ${MAX_STEPS} steps in ${this.#deployment.phase} without a wait`,
    );
  }

  #take(step: Step, { now }: Observation): void {
    const deployment = this.#deployment;
    switch (step.do) {
      case "start":
        this.#fleet.start(this.#record(deployment), step.instances);
        return;
      case "fallBack":
        this.#fleet.fallBack(this.#record({ ...deployment, fallback: step.number, resizedAt: now }));
        return;
      case "verify":
        this.#fleet.verify(this.#record(deployment), now);
        return;
      case "analyse":
        this.#fleet.analyse(this.#record(deployment), stageStartedAt(deployment));
        return;
      case "reach":
        this.#record(reach(deployment, step.step, now));
        return;
      case "weigh": {
        const { candidate: weight, pinned } = step;
        this.#fleet.weigh(this.#record(weigh(deployment, weight, pinned, now)), weight, pinned);
        return;
      }
      case "resize":
        this.#fleet.resize(this.#record({ ...deployment, resizedAt: now }), step.generation, step.instances);
        return;
      case "retire":
        this.#fleet.retire(
          this.#record({ ...deployment, reason: step.reason ?? deployment.reason }),
          step.generation,
        );
        return;
      case "enter":
        this.#record(enter(deployment, step.phase, step.reason, now));
        return;
      case "wait":
        this.#fleet.wake(deployment, step.until);
        return;
    }
  }

  /** Written first and believed second: if writing throws, the deploy is where it was. */
  #record(deployment: Deployment): Deployment {
    this.#fleet.record(deployment);
    this.#deployment = deployment;
    return deployment;
  }
}
