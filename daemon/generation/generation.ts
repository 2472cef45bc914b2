/**
 * A release running: its instances, and one slot on each of its listeners, shared by all of them.
 *
 *   starting → standby ⇄ serving → draining → stopped
 *       └──────────────────────────▶ draining → failed (it never became ready)
 *
 * Whatever goes wrong is shown by `view`, for the deploy to judge. `retirement.ts` ends a generation.
 */
import { type CandidateView, type GenerationState, isEnding, isOver } from "../../deploy/fleet.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";
import type { Listener } from "../../handoff/listener.ts";
import { Machine } from "../../handoff/machine.ts";
import type { Candidate } from "../proof/acceptance.ts";
import { ApplicationStore } from "./application-store.ts";
import type { ServiceConfig } from "../config/config.ts";
import { reasonOf } from "../errors.ts";
import { reach } from "../fault.ts";
import { GenerationProof } from "../proof/generation-proof.ts";
import {
  type Ending,
  GENERATION,
  type GenerationEvent,
  type GenerationFacts,
  type GenerationHooks,
  factsOf,
  type GenerationRecord,
} from "./generation-record.ts";
import type { Instance } from "./instance.ts";
import { recordOf, viewOf } from "./generation-view.ts";
import { planOf } from "./instance-plan.ts";
import { Instances } from "./instances.ts";
import { Placements } from "../sockets/placements.ts";
import { QueueWatch } from "../sockets/queue-watch.ts";
import { ReadinessWatch } from "../proof/readiness-watch.ts";
import { retire, sayKilled } from "./retirement.ts";
import type { Surroundings } from "../surroundings.ts";
import { Traffic } from "./traffic.ts";
import type { Placement } from "../proof/verification.ts";
import { Work } from "../work.ts";

export class Generation {
  readonly number: number;
  readonly version: string | null;
  readonly config: ServiceConfig;
  readonly startedAt: number;
  readonly traffic: Traffic;
  /** What its application keeps. */
  readonly store: ApplicationStore;
  readonly #surroundings: Surroundings;
  readonly #hooks: GenerationHooks;
  readonly #machine: Machine<GenerationState, GenerationEvent>;
  readonly #instances: Instances;
  /** Everything that was begun and must be over before the generation can be said to have ended. */
  readonly #work = new Work();
  readonly #placements: Placements;
  readonly #queue: QueueWatch;
  readonly #proof: GenerationProof;
  readonly #facts: GenerationFacts;
  readonly #readiness: ReadinessWatch;

  /** `start()` begins a new one, `resume()` goes on with one that another daemon has started. */
  constructor(
    record: GenerationRecord,
    listeners: ReadonlyMap<string, Listener>,
    hooks: GenerationHooks,
    surroundings: Surroundings,
  ) {
    this.number = record.number;
    this.version = record.version;
    this.config = record.config;
    this.startedAt = record.startedAt;
    this.#hooks = hooks;
    this.#surroundings = surroundings;
    this.#machine = new Machine(GENERATION, record.state, record.since);
    this.traffic = new Traffic(record.traffic, () => this.#hooks.onChange());
    this.store = new ApplicationStore(record, hooks, surroundings);
    this.#facts = factsOf(record);
    this.#placements = new Placements(this.name, record.config.listeners, listeners, record);
    this.#queue = new QueueWatch(this.#placements, hooks.onChange);
    this.#proof = new GenerationProof(surroundings);
    this.#instances = this.#createInstances(record);
    this.#readiness = new ReadinessWatch(record.config.ready, this.#candidate, () => this.placements, {
      onProved: () => this.#ready(this.#instances.staying),
      onSlow: () => this.#hurry(),
      onLate: (why) => this.#readyTimedOut(why),
      extendedTo: () => this.#instances.extendedTo,
    });
  }

  /** "api/3" */
  get name(): string {
    return `${this.config.name}/${this.number}`;
  }

  get state(): GenerationState {
    return this.#machine.state;
  }

  get since(): number {
    return this.#machine.since;
  }

  get isOver(): boolean {
    return isOver(this.state);
  }

  get weight(): number {
    return this.#facts.weight;
  }

  get instances(): readonly Instance[] {
    return this.#instances.all;
  }

  get placements(): readonly Placement[] {
    return this.#placements.all;
  }

  get marks(): readonly number[] {
    return this.#placements.marks;
  }

  get ending(): Ending | null {
    return this.#facts.ending;
  }

  /** Whether its instances were told to end. */
  get told(): Pick<GenerationRecord, "signalledAt" | "isSignalled"> {
    return this.#facts;
  }

  get wasReady(): boolean {
    return this.#facts.wasReady;
  }

  get pids(): readonly number[] {
    return this.#instances.pids;
  }

  get view(): CandidateView {
    return viewOf(this.state, {
      facts: this.#facts,
      instances: this.#instances,
      placements: this.#placements,
      proof: this.#proof,
      queue: this.#queue,
    });
  }

  get record(): GenerationRecord {
    return recordOf(this, this.#facts, this.#placements, this.#instances);
  }

  /**
   * Takes slots and starts the instances, if there are any yet. On "weighted" slots those who wait there meet it as soon
   * as it accepts. Does not throw: what went wrong is the view's failure.
   */
  start(slots: "free" | "weighted"): void {
    if (slots === "weighted") this.#facts.hadUsers = true;
    this.#begin(async () => {
      await this.#placements.take(slots);
      this.#hooks.onChange();
      await this.#startInstances();
    }, "essential");
  }

  /** Goes on with the processes that run. What is used is taken out of `kept`. */
  resume(kept: Map<string, Descriptor>): void {
    this.store.resume(kept);
    if (this.isOver) return;
    this.#instances.resume(kept, this.state === "draining", this.#placements.isComplete);
    if (this.state === "draining") this.#end();
    // Its slots were being taken, and nothing was to be started on them yet.
    else if (this.#instances.all.length === 0) this.start("free");
    else this.#goOn();
  }

  /** So many instances from now on. What is missing is started, and what is too much drains while its siblings go on. */
  resize(instances: number): void {
    if (isEnding(this)) return;
    const added = this.#instances.resize(instances);
    if (added.length > 0) this.#startVacant();
    this.#reviewReady();
    this.#hooks.onChange();
  }

  /** Its share of new connections, and whether the pinned networks reach it: the listeners have both already. */
  setWeight(weight: number, pinned = false): void {
    this.#facts.weight = weight;
    this.#facts.pinned = pinned;
    if (weight > 0 || pinned) this.#facts.hadUsers = true;
    const event = weight > 0 ? "admit" : "park";
    this.#fire(event);
    this.#instances.fire(event);
  }

  /** Looks at its queue until `limitMs` is null; `view.queueSince` tells. */
  watchQueue(limitMs: number | null): void {
    if (limitMs === null) this.#queue.stop();
    else this.#queue.start(limitMs);
  }

  /** A deploy was about to give it users when the daemon died: it may have had some. */
  assumeUsers(): void {
    this.#facts.hadUsers = true;
  }

  /** Proves the generation, perhaps not for the first time; the outcome is the view's `verification`. */
  verify(now: number): void {
    const running = this.#proof.run(this, now, this.#work.signal);
    this.#begin(() => running.then(this.#hooks.onChange));
  }

  /**
   * Ends it, in the order of retirement.ts. Doing so twice is once. Unless told otherwise, what waits for it is left to
   * whoever takes its slots over.
   */
  retire({ leavesQueue = this.#isAwaited, isAlone = false }: Partial<Ending> = {}): void {
    if (!this.#fire("retire")) return;
    this.#facts.ending = { leavesQueue, isAlone };
    this.#hooks.onChange();
    this.#end();
  }

  /** New connections are its own, and nobody else's, to take. On a listener that only it has that says nothing (reload.ts). */
  get #isAwaited(): boolean {
    return this.weight > 0 || (this.#placements.hasShare && !this.wasReady);
  }

  /** Ends all work that no record tells of (proofs, restarts that are due); a drain's instants are recorded. */
  async pause(): Promise<void> {
    if (isEnding(this)) return;
    await this.#stop(new CodedError("DAEMON_UPGRADING", "the daemon is being upgraded"));
  }

  /** What `pause` has ended is begun again, but for the look at its queue, which is the deploy's. */
  unpause(): void {
    if (isEnding(this)) return;
    this.#work.renew();
    this.#proof.reset();
    this.#instances.goOnComingBack();
    this.#goOn();
  }

  /** Who is still to come is awaited anew. */
  #goOn(): void {
    if (this.config.external !== null) this.#startVacant();
    else this.#watchReadiness();
  }

  #startVacant(): void {
    this.#begin(() => this.#startInstances());
  }

  async #startInstances(): Promise<void> {
    await this.#instances.start();
    this.#watchReadiness();
  }

  /** Told by retirement.ts: before the signal goes out, and when it has. */
  telling(signalledAt: number, isSignalled: boolean): void {
    Object.assign(this.#facts, { signalledAt, isSignalled });
    this.#hooks.onChange();
  }

  #stop(reason: CodedError): Promise<void> {
    this.#instances.stopComingBack();
    this.#readiness.stop();
    this.#queue.stop();
    return this.#work.end(reason);
  }

  #end(): void {
    // What was begun ends by it; a process that was just being started is then there to be ended.
    const ended = this.#stop(new CodedError("GENERATION_RETIRED", `${this.name} is being retired`));
    this.#retire(ended).catch((error: unknown) => {
      // Its slots stay its own: nobody else gets what may still be in use.
      this.#surroundings.log.error({ err: error, generation: this.name }, "a fault while retiring");
    });
  }

  async #retire(workEnded: Promise<void>): Promise<void> {
    await workEnded;
    this.#instances.fire("retire");
    await Promise.all([
      this.#instances.whenLeft(),
      retire(this, this.#instances.staying, this.#surroundings),
    ]);
    await this.#hooks.onGivingBack(this.placements.map(({ slot }) => slot));
    // What waits in slots that never had any weight are our own pinned connections.
    this.#placements.giveBack(!this.#facts.hadUsers);
    this.#facts.weight = 0;
    reach("drain.given-back");
    this.#fire(this.#facts.wasReady ? "end" : "fail");
    this.#hooks.onEnded();
    this.#hooks.onChange();
  }

  get #candidate(): Candidate {
    return { name: this.name, pids: () => this.pids };
  }

  #createInstances(record: GenerationRecord): Instances {
    const { config } = record;
    return new Instances(
      planOf(
        this,
        () => this.#work.signal,
        () => this.#hooks.isAlone(this.number),
        this.#surroundings,
      ),
      record.instances,
      this,
      {
        onReadySaid: (instance) => {
          if (config.ready.by === "notify") this.#ready([instance]);
        },
        onStore: (request) => this.store.handle(request),
        onLost: ({ code, message }) => {
          this.#facts.exits++;
          this.#facts.failure = { code, message };
          this.#hooks.onChange();
        },
        onNotStarted: (error) => {
          this.#fail(error);
          // The next process of a candidate could not be started either.
          if (!this.#facts.wasReady) this.retire();
        },
        onComeBack: (start) =>
          this.#begin(async () => {
            await start();
            this.#watchReadiness();
          }),
        onKilled: (killed) => sayKilled(this, killed, this.#surroundings),
        onChange: () => this.#hooks.onChange(),
        comesBack: () => this.#facts.wasReady && this.state !== "draining",
      },
      this.#surroundings,
    );
  }

  #ready(instances: readonly Instance[]): void {
    if (!this.#instances.markReady(instances, this.#facts.weight > 0)) return;
    this.#placements.assertBacklog();
    this.#reviewReady();
    this.#hooks.onChange();
  }

  #reviewReady(): void {
    const { ready, staying } = this.#instances;
    if (staying.length === 0 || ready < staying.length) return;
    this.#readiness.stop();
    this.#facts.wasReady = true;
    if (this.#fire("ready") && this.#facts.weight > 0) this.#fire("admit");
  }

  #watchReadiness(): void {
    if (this.#late.length > 0) this.#begin(() => this.#readiness.watch(this.#work.signal));
  }

  get #late(): readonly Instance[] {
    return this.#instances.staying.filter(({ state }) => state === "starting");
  }

  #hurry(): void {
    for (const instance of this.#late) instance.hurry();
    this.#hooks.onChange();
  }

  #readyTimedOut(why: CodedError): void {
    if (this.#late.length === 0) return;
    this.#fail(why);
    // One that was to come back is tried again; a candidate is the deploy's to judge.
    if (this.#facts.wasReady) for (const instance of this.#late) instance.process?.killGroup("SIGKILL");
  }

  /** Runs something whose failure is the view's, and which must be over before the generation has ended. Essential: its end, too. */
  #begin(work: () => Promise<void>, weight: "essential" | "optional" = "optional"): void {
    this.#work.begin(work, (error) => {
      this.#fail(error);
      if (weight === "essential") this.retire();
    });
  }

  #fail(error: unknown): void {
    if (!(error instanceof CodedError)) this.#surroundings.log.error({ err: error }, "a fault");
    this.#facts.failure = reasonOf(error);
    const where = { service: this.config.name, generation: this.number };
    this.#surroundings.say({ type: "generation.failure", ...this.#facts.failure, ...where }, "warn");
    this.#hooks.onChange();
  }

  #fire(event: GenerationEvent): boolean {
    return this.#machine.fire(event, Date.now());
  }
}
