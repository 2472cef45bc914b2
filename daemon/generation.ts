/**
 * A release running: its instances, and one slot on each of its listeners, shared by all of them.
 *
 *   starting → standby ⇄ serving → draining → stopped
 *       └──────────────────────────▶ draining → failed (it never became ready)
 *
 * Whatever goes wrong is shown by `view`, for the deploy to judge. `retirement.ts` ends a generation.
 */
import type { Reason } from "../deploy/deployment.ts";
import { type CandidateView, type GenerationState, isOver } from "../deploy/fleet.ts";
import { CodedError } from "../handoff/coded-error.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import type { Listener } from "../handoff/listener.ts";
import { Machine } from "../handoff/machine.ts";
import { accountOf, specificationFor } from "./account.ts";
import type { Candidate } from "./acceptance.ts";
import type { ServiceConfig } from "./config/config.ts";
import { readyTimeout, reasonOf } from "./errors.ts";
import { reach } from "./fault.ts";
import {
  GENERATION,
  type GenerationEvent,
  type GenerationHooks,
  type GenerationRecord,
} from "./generation-record.ts";
import type { Instance } from "./instance.ts";
import { Instances } from "./instances.ts";
import { placesOf, reclaimSlots } from "./placements.ts";
import { awaitReady, whyNotReady } from "./readiness.ts";
import { retire } from "./retirement.ts";
import type { Surroundings } from "./surroundings.ts";
import { ACCEPT_MS, type Placement, verify } from "./verification.ts";
import { Work } from "./work.ts";

export class Generation {
  readonly number: number;
  readonly version: string | null;
  readonly config: ServiceConfig;
  readonly startedAt: number;
  readonly #listeners: ReadonlyMap<string, Listener>;
  readonly #surroundings: Surroundings;
  readonly #hooks: GenerationHooks;
  readonly #machine: Machine<GenerationState, GenerationEvent>;
  readonly #instances: Instances;
  readonly #work = new Work();
  readonly #placements: Placement[];
  readonly #marks: number[];
  #readyDeadline: NodeJS.Timeout | null = null;
  #weight: number;
  #exits: number;
  #failure: Reason | null;
  #wasReady: boolean;
  #told: Pick<GenerationRecord, "signalledAt" | "isSignalled">;
  #hadUsers: boolean;
  #verification: CandidateView["verification"] = "none";

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
    this.#listeners = listeners;
    this.#hooks = hooks;
    this.#surroundings = surroundings;
    this.#machine = new Machine(GENERATION, record.state, record.since);
    this.#marks = [...record.marks];
    this.#weight = record.weight;
    this.#exits = record.exits;
    this.#failure = record.failure;
    this.#wasReady = record.wasReady;
    this.#told = { signalledAt: record.signalledAt, isSignalled: record.isSignalled };
    this.#hadUsers = record.hadUsers;
    this.#instances = this.#createInstances(record);
    this.#placements = reclaimSlots(record.slots, this.name, listeners);
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
    return this.#weight;
  }

  get instances(): readonly Instance[] {
    return this.#instances.all;
  }

  get placements(): readonly Placement[] {
    return this.#placements;
  }

  /** SO_MARK values that its connections bear. */
  get marks(): readonly number[] {
    return this.#marks;
  }

  /** Whether its instances were told to end. */
  get told(): Pick<GenerationRecord, "signalledAt" | "isSignalled"> {
    return this.#told;
  }

  get wasReady(): boolean {
    return this.#wasReady;
  }

  get pids(): readonly number[] {
    return this.#instances.pids;
  }

  get view(): CandidateView {
    return {
      state: this.state,
      weight: this.#weight,
      ready: this.#instances.ready,
      wanted: this.#instances.all.length,
      exits: this.#exits,
      failure: this.#failure,
      verification: this.#verification,
    };
  }

  get record(): GenerationRecord {
    return {
      number: this.number,
      version: this.version,
      state: this.state,
      since: this.since,
      startedAt: this.startedAt,
      weight: this.#weight,
      exits: this.#exits,
      failure: this.#failure,
      wasReady: this.#wasReady,
      ...this.#told,
      hadUsers: this.#hadUsers,
      ...placesOf(this.#placements),
      marks: this.#marks,
      instances: this.#instances.records,
      config: this.config,
    };
  }

  /** Takes slots and starts the instances. Does not throw: what went wrong is the view's failure. */
  start(): void {
    this.#begin(async () => {
      for (const name of this.config.listeners) {
        const listener = this.#listeners.get(name);
        if (listener === undefined)
          throw new Error(`service ${this.config.name} without its listener ${name}`);
        const slot = await listener.take(this.name);
        this.#placements.push({ listener, slot });
        if (slot.mark !== 0) this.#marks.push(slot.mark);
      }
      await this.#instances.start();
      this.#watchReadiness();
    }, "essential");
  }

  /** Goes on with the processes that run. What is used is taken out of `kept`. */
  resume(kept: Map<string, Descriptor>): void {
    this.#instances.resume(kept, this.state === "draining");
    if (this.state === "draining") this.#end();
    else this.#watchReadiness();
  }

  /** Its share of new connections, which the listeners have already. */
  setWeight(weight: number): void {
    this.#weight = weight;
    if (weight > 0) this.#hadUsers = true;
    const event = weight > 0 ? "admit" : "park";
    this.#fire(event);
    this.#instances.fire(event);
  }

  /** A deploy was about to give it users when the daemon died: it may have had some. */
  assumeUsers(): void {
    this.#hadUsers = true;
  }

  /** Proves the generation; the outcome is the view's `verification`. */
  verify(): void {
    this.#verification = "running";
    const plan = {
      candidate: this.#candidate,
      placements: this.#placements,
      steps: this.config.verify,
      acceptMs: Math.min(ACCEPT_MS, this.config.ready.timeoutMs),
      devNull: this.#surroundings.devNull,
      commandSpecification: (command: readonly string[], extra: Readonly<Record<string, string>>) => {
        const variables = { ...this.#variables, ...extra };
        return specificationFor(this.config, this.version, command, variables, false, "SIGKILL");
      },
    };
    this.#begin(async () => {
      try {
        await verify(plan, this.#work.signal);
        this.#verification = "passed";
      } catch (error) {
        if (this.#work.signal.aborted) return; // Nobody asks any more.
        this.#verification = "failed";
        this.#surroundings.tally.verificationFailed(this.config.name);
        throw error;
      }
      this.#hooks.onChange();
    });
  }

  /** Ends it, in the order of retirement.ts. Doing so twice is once. */
  retire(): void {
    if (!this.#fire("retire")) return;
    this.#hooks.onChange();
    this.#end();
  }

  /** Ends all work that no record tells of (proofs, restarts that are due); a drain's instants are recorded. */
  async pause(): Promise<void> {
    if (this.state === "draining") return;
    this.#instances.stopComingBack();
    this.#clearReadyDeadline();
    await this.#work.end(new CodedError("DAEMON_UPGRADING", "the daemon is being upgraded"));
  }

  /** What `pause` has ended is begun again. */
  unpause(): void {
    if (this.state === "draining" || this.isOver) return;
    this.#work.renew();
    this.#verification = "none";
    this.#instances.goOnComingBack();
    this.#watchReadiness();
  }

  /** Told by retirement.ts: before the signal goes out, and when it has. */
  telling(signalledAt: number, isSignalled: boolean): void {
    this.#told = { signalledAt, isSignalled };
    this.#hooks.onChange();
  }

  #end(): void {
    // What was begun ends by it; a process that was just being started is then there to be ended.
    const ended = this.#work.end(new CodedError("GENERATION_RETIRED", `${this.name} is being retired`));
    this.#instances.stopComingBack();
    this.#clearReadyDeadline();
    this.#retire(ended).catch((error: unknown) => {
      // Its slots stay its own: nobody else gets what may still be in use.
      this.#surroundings.log.error({ err: error, generation: this.name }, "a fault while retiring");
    });
  }

  async #retire(workEnded: Promise<void>): Promise<void> {
    await workEnded;
    this.#instances.fire("retire");
    await retire(this, this.#surroundings);
    await this.#hooks.onGivingBack(this.#placements.map(({ slot }) => slot));
    for (const { listener, slot } of this.#placements) {
      // What waits in a slot that never had any weight are our own pinned connections.
      if (!this.#hadUsers && listener.mode !== "shared") slot.discardQueue();
      if (slot.owner === this.name) slot.owner = null;
    }
    this.#placements.length = 0;
    this.#weight = 0;
    reach("drain.given-back");
    this.#fire(this.#wasReady ? "end" : "fail");
    this.#hooks.onEnded();
    this.#hooks.onChange();
  }

  get #candidate(): Candidate {
    return { name: this.name, pids: () => this.pids };
  }

  get #variables(): Record<string, string> {
    return {
      HANDOFF_SERVICE: this.config.name,
      HANDOFF_GENERATION: String(this.number),
      HANDOFF_VERSION: this.version ?? "",
    };
  }

  #createInstances(record: GenerationRecord): Instances {
    const { config } = record;
    return new Instances(
      {
        generation: this.name,
        specification: (extra) =>
          specificationFor(config, this.version, config.command, { ...this.#variables, ...extra }, true),
        identity: () => accountOf(config).identity,
        offers: () => this.#placements.map(({ listener, slot }) => ({ name: listener.name, fd: slot.fd })),
        output: config.output,
      },
      record.instances,
      config,
      this.number,
      {
        onReadySaid: (instance) => {
          if (config.ready.by === "notify") this.#ready([instance]);
        },
        onLost: ({ code, message }) => {
          this.#exits++;
          this.#failure = { code, message };
          this.#hooks.onChange();
        },
        onNotStarted: (error) => {
          this.#fail(error);
          // The next process of a candidate could not be started either.
          if (!this.#wasReady) this.retire();
        },
        onComeBack: (start) =>
          this.#begin(async () => {
            await start();
            this.#watchReadiness();
          }),
        onChange: () => this.#hooks.onChange(),
        comesBack: () => this.#wasReady && this.state !== "draining",
      },
      this.#surroundings,
    );
  }

  #ready(instances: readonly Instance[]): void {
    if (!this.#instances.markReady(instances, this.#weight > 0)) return;
    // Applications change the backlog on the description that all share (Node sets 511).
    for (const { listener, slot } of this.#placements) slot.assertBacklog(listener.backlog);
    if (this.#instances.ready === this.#instances.all.length) {
      this.#clearReadyDeadline();
      this.#wasReady = true;
      this.#fire("ready");
    }
    this.#hooks.onChange();
  }

  #watchReadiness(): void {
    const { ready } = this.config;
    if (!this.#instances.all.some(({ state }) => state === "starting")) return;
    const deadline = performance.now() + ready.timeoutMs;
    this.#clearReadyDeadline();
    this.#readyDeadline = setTimeout(() => this.#readyTimedOut(), ready.timeoutMs);
    if (ready.by === "notify") return;
    this.#begin(async () => {
      await awaitReady(ready, this.#placements, this.#candidate, deadline, this.#work.signal);
      this.#ready(this.#instances.all);
    });
  }

  #clearReadyDeadline(): void {
    if (this.#readyDeadline !== null) clearTimeout(this.#readyDeadline);
    this.#readyDeadline = null;
  }

  #readyTimedOut(): void {
    const late = this.#instances.all.filter(({ state }) => state === "starting");
    if (late.length === 0) return;
    const { ready } = this.config;
    const why = whyNotReady(ready, this.#placements, this.#candidate);
    this.#fail(readyTimeout(this.name, ready.timeoutMs, why));
    // One that was to come back is tried again; a candidate is the deploy's to judge.
    if (this.#wasReady) for (const instance of late) instance.process?.killGroup("SIGKILL");
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
    this.#failure = reasonOf(error);
    const where = { service: this.config.name, generation: this.number };
    this.#surroundings.say({ type: "generation.failure", ...this.#failure, ...where }, "warn");
    this.#hooks.onChange();
  }

  #fire(event: GenerationEvent): boolean {
    return this.#machine.fire(event, Date.now());
  }
}
