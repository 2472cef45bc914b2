/**
 * A service: its generations, who of them has which role, and its deploys. It is the world to a deploy's runner (Fleet): it
 * shows what is, writes records down, and does what it is told.
 */
import { beginDeployment } from "../deploy/begin.ts";
import { type Deployment, hasHadUsers, type Wish } from "../deploy/deployment.ts";
import type { Fleet, Observation } from "../deploy/fleet.ts";
import { decideRollback } from "../deploy/rollback.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import type { Listener } from "../handoff/listener.ts";
import type { ServiceConfig } from "./config/config.ts";
import { deployOptions, type DeployWish } from "./deploy-options.ts";
import { Deploys } from "./deploys.ts";
import { nothingRuns, stopping } from "./errors.ts";
import { withFaultPoints } from "./fault.ts";
import { FirstStart } from "./first-start.ts";
import { Generation } from "./generation.ts";
import { type GenerationHooks, newGeneration } from "./generation-record.ts";
import { proveSlots } from "./recovery.ts";
import { assertStartable, assertSteerable } from "./release.ts";
import { IdleSlots } from "./slots.ts";
import { holdAside, steer } from "./steer.ts";
import type { ServiceRecord, SnapshotStore } from "./snapshot.ts";
import type { Surroundings } from "./surroundings.ts";

export class Service implements Fleet {
  readonly name: string;
  readonly config: ServiceConfig;
  readonly #listeners: ReadonlyMap<string, Listener>;
  readonly #surroundings: Surroundings;
  readonly #store: SnapshotStore;
  readonly #idle: IdleSlots;
  readonly #generations = new Map<number, Generation>();
  readonly #deploys: Deploys;
  /** Who waits for the end of a generation. */
  readonly #endings = new Map<number, () => void>();
  #current: number | null = null;
  #candidate: number | null = null;
  #previous: number | null = null;
  #lastNumber = 0;
  #version: string | null;
  #isStopping = false;
  readonly #firstStart: FirstStart;

  constructor(
    config: ServiceConfig,
    listeners: ReadonlyMap<string, Listener>,
    store: SnapshotStore,
    surroundings: Surroundings,
  ) {
    this.name = config.name;
    this.config = config;
    this.#listeners = listeners;
    this.#store = store;
    this.#surroundings = surroundings;
    this.#version = config.version;
    this.#firstStart = new FirstStart(
      config.name,
      config.restart,
      () => this.deploy({}, "handoffd (start)"),
      surroundings,
    );
    this.#deploys = new Deploys(
      withFaultPoints(this),
      (deployment) => this.#deployEnded(deployment),
      surroundings,
    );
    this.#idle = new IdleSlots(
      config.name,
      [...listeners.values()],
      () => this.#generation(this.#current),
      surroundings,
    );
  }

  get current(): number | null {
    return this.#current;
  }

  get candidate(): number | null {
    return this.#candidate;
  }

  get previous(): number | null {
    return this.#previous;
  }

  get generations(): readonly Generation[] {
    return [...this.#generations.values()];
  }

  /** The newest first. */
  get deploys(): readonly Deployment[] {
    return this.#deploys.all;
  }

  /** The deploy that stands in the way of another one; null when there is none. */
  get activeDeploy(): Deployment | null {
    return this.#deploys.active;
  }

  get state(): "starting" | "running" | "degraded" | "stopped" {
    const current = this.#generation(this.#current);
    if (current === null) return this.activeDeploy === null ? "stopped" : "starting";
    const { ready, wanted } = current.view;
    return ready < wanted ? "degraded" : "running";
  }

  /** Looks again at slots that were held by someone when it was last asked. */
  async reviewHeld(): Promise<void> {
    await this.#idle.reviewHeld();
  }

  // --- coming up ---

  /** Starts the remembered, else the configured version. What became of it is a deploy like any other. */
  async begin(record: ServiceRecord | null): Promise<void> {
    this.#remember(record);
    // Nothing of a deploy that was under way runs any more.
    this.#deploys.endInterrupted(Date.now());
    await this.#idle.findHolders();
    this.#firstStart.now();
  }

  /** Goes on from another daemon's death, with its listeners resumed. What is used of `kept` is taken out of it. */
  async recover(record: ServiceRecord, kept: Map<string, Descriptor>): Promise<void> {
    this.#remember(record);
    this.#current = record.current;
    this.#candidate = record.candidate;
    this.#previous = record.previous;
    for (const each of record.generations) {
      this.#generations.set(
        each.number,
        new Generation(each, this.#listeners, this.#hooks, this.#surroundings),
      );
    }
    for (const deployment of record.deploys) {
      if (hasHadUsers(deployment)) this.#generation(deployment.to)?.assumeUsers();
    }
    for (const generation of this.#generations.values()) generation.resume(kept);
    await proveSlots(this.name, this.#listeners.values(), this.generations, this.#surroundings);
    await this.#idle.findHolders();
    this.#deploys.goOn();
    // Those that no role and no deploy needs: a failed candidate that was still being ended.
    const needed = new Set([this.#current, this.#candidate, this.#previous]);
    for (const generation of this.#generations.values()) {
      if (!needed.has(generation.number) && !this.#deploys.watches(generation.number)) generation.retire();
    }
    this.#forgetEnded();
    this.#idle.review();
    if (this.#generation(this.#current) === null && this.activeDeploy === null) this.#firstStart.now();
  }

  #remember(record: ServiceRecord | null): void {
    if (record === null) return;
    this.#lastNumber = record.lastNumber;
    this.#version = record.version ?? this.config.version;
    this.#deploys.restore(record.deploys);
  }

  // --- what people ask ---

  /** Accepts a deploy. Throws a CodedError, and has changed nothing, when it cannot begin. */
  deploy(wish: DeployWish, requestedBy: string): Deployment {
    if (this.#isStopping) throw stopping();
    const current = this.#generation(this.#current);
    const version =
      wish.version === undefined ? (current === null ? this.#version : current.version) : wish.version;
    assertStartable(this.config, version);
    const strategy = wish.strategy ?? this.config.deploy.strategy;
    if (current !== null) assertSteerable(this.name, strategy, this.#listeners.values());
    const to = this.#lastNumber + 1;
    const deployment = beginDeployment(
      {
        id: `${this.name}-${to}`,
        service: this.name,
        strategy,
        from: this.#current,
        to,
        version,
        isRollback: wish.isRollback ?? false,
        requestedBy,
        options: deployOptions(this.config, wish),
      },
      this.#deploys.all[0] ?? null,
      Date.now(),
    );
    const begun = this.#deploys.begin(deployment);
    this.#firstStart.cancel();
    return begun;
  }

  rollback(requestedBy: string): Deployment {
    const decision = decideRollback(this.name, this.#deploys.all);
    switch (decision.do) {
      case "wish":
        return this.ask(decision.deploy, "rollback");
      case "deploy":
        return this.deploy({ version: decision.version, isRollback: true }, requestedBy);
    }
  }

  /** A deploy of the release that is current. */
  restart(requestedBy: string): Deployment {
    const current = this.#generation(this.#current);
    if (current === null) throw nothingRuns(this.name);
    return this.deploy({ version: current.version }, requestedBy);
  }

  /** When it returns, what could follow at once has been done. */
  ask(id: string, wish: Wish | "pause" | "continue"): Deployment {
    return this.#deploys.ask(id, wish);
  }

  // --- going down ---

  /** Drains and ends everything. New connections wait in an idle slot meanwhile; whoever closes the listeners ends that. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#firstStart.cancel();
    const active = this.activeDeploy;
    try {
      if (active !== null) this.#deploys.ask(active.id, "abort");
    } catch {
      // It cannot be aborted in this phase: then its candidate serves, and is drained with the others.
    }
    await this.#idle.stop();
    for (const listener of this.#listeners.values()) holdAside(listener, this.#surroundings);
    const ended = [...this.#generations.values()].map((generation) => this.#over(generation));
    for (const generation of this.#generations.values()) generation.retire();
    await Promise.all(ended);
    this.#deploys.stop();
    this.#current = this.#candidate = this.#previous = null;
    this.#generations.clear();
    this.#persist();
  }

  /** Ends every process at once. */
  kill(): void {
    for (const { instances } of this.#generations.values()) {
      for (const instance of instances) instance.process?.killGroup("SIGKILL");
    }
    this.#idle.kill();
  }

  /** Begins nothing any more, and ends what no record tells of. Returns when another image can go on. */
  async pause(): Promise<void> {
    this.#firstStart.cancel();
    this.#deploys.pause();
    await Promise.all([this.#idle.pause(), ...this.generations.map((generation) => generation.pause())]);
  }

  /** There is no other image. */
  unpause(): void {
    for (const generation of this.#generations.values()) generation.unpause();
    this.#idle.unpause();
    this.#deploys.unpause();
    if (this.#generation(this.#current) === null && this.activeDeploy === null) this.#firstStart.later();
  }

  /** Writes down what is, on the disk. Throws when it cannot. */
  save(): void {
    this.#store.write(this.#record, "lasting");
  }

  #over(generation: Generation): Promise<void> {
    if (generation.isOver) return Promise.resolve();
    return new Promise((resolve) => this.#endings.set(generation.number, resolve));
  }

  /** Gives what the instances have to the keeper, a new one that holds nothing yet. */
  async keep(): Promise<void> {
    for (const generation of this.#generations.values()) {
      for (const instance of generation.instances) await instance.keep();
    }
  }

  // --- Fleet: the world of a deploy ---

  observe(deployment: Deployment): Observation {
    return {
      now: Date.now(),
      candidate: this.#generation(deployment.to)?.view ?? null,
      previous: this.#generation(deployment.from)?.view ?? null,
    };
  }

  record(deployment: Deployment): void {
    const { to, phase, version } = deployment;
    const before = { lastNumber: this.#lastNumber, version: this.#version };
    this.#lastNumber = Math.max(this.#lastNumber, to);
    // From here on there is no way back but another deploy: this is the release that a reboot starts.
    if (phase === "draining" || phase === "succeeded") this.#version = version;
    try {
      this.#deploys.record(deployment, () => this.#store.write(this.#record));
    } catch (error) {
      this.#lastNumber = before.lastNumber;
      this.#version = before.version;
      throw error;
    }
  }

  start(deployment: Deployment): void {
    const record = newGeneration(this.config, deployment.to, deployment.version, Date.now());
    const generation = new Generation(record, this.#listeners, this.#hooks, this.#surroundings);
    this.#generations.set(deployment.to, generation);
    this.#candidate = deployment.to;
    generation.start();
  }

  verify(deployment: Deployment): void {
    this.#generation(deployment.to)?.verify();
  }

  weigh(deployment: Deployment, share: number): void {
    const candidate = this.#generation(deployment.to);
    if (candidate === null) return;
    const previous = this.#generation(deployment.from);
    steer(candidate.placements, previous?.placements ?? [], share);
    // An instance that came up after the proof may have said a backlog of its own.
    for (const { listener, slot } of candidate.placements) slot.assertBacklog(listener.backlog);
    candidate.setWeight(share);
    previous?.setWeight(1 - share);
    const isAll = share === 1;
    this.#current = isAll ? deployment.to : deployment.from;
    this.#candidate = isAll ? null : deployment.to;
    this.#previous = isAll ? deployment.from : null;
    if (isAll) this.#firstStart.succeeded();
    this.#persist();
    this.#idle.review();
  }

  retire(deployment: Deployment, which: "candidate" | "previous"): void {
    const number = which === "candidate" ? deployment.to : deployment.from;
    if (this.#candidate === number) this.#candidate = null;
    if (this.#previous === number) this.#previous = null;
    this.#generation(number)?.retire();
  }

  wake(deployment: Deployment, at: number | null): void {
    this.#deploys.wake(deployment, at);
  }

  // --- inside ---

  #generation(number: number | null): Generation | null {
    return number === null ? null : (this.#generations.get(number) ?? null);
  }

  readonly #hooks: GenerationHooks = {
    onChange: () => {
      // A deploy that goes on writes everything down before it acts; what is left to write is written here.
      this.#deploys.advance();
      this.#persist();
      this.#forgetEnded();
    },
    onEnded: () => {
      this.#idle.review();
    },
    onGivingBack: (slots) => this.#idle.findHolders(slots),
  };

  #deployEnded(deployment: Deployment): void {
    if (this.#candidate === deployment.to) this.#candidate = null;
    this.#persist();
    if (this.#current === null && !this.#isStopping && deployment.phase !== "aborted")
      this.#firstStart.later();
  }

  /** Generations that have ended are kept as long as a deploy looks at them. */
  #forgetEnded(): void {
    for (const generation of this.#generations.values()) {
      if (!generation.isOver) continue;
      this.#endings.get(generation.number)?.();
      this.#endings.delete(generation.number);
      if (!this.#deploys.watches(generation.number)) this.#generations.delete(generation.number);
    }
  }

  #persist(): void {
    try {
      this.#store.write(this.#record);
    } catch (error) {
      this.#surroundings.log.error({ err: error, service: this.name }, "the state cannot be written");
    }
  }

  get #record(): ServiceRecord {
    return {
      service: this.name,
      lastNumber: this.#lastNumber,
      version: this.#version,
      current: this.#current,
      candidate: this.#candidate,
      previous: this.#previous,
      deploys: this.#deploys.all,
      generations: [...this.#generations.values()].map(({ record }) => record),
    };
  }
}
