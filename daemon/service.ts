/**
 * A service: its generations, who of them has which role, and its deploys. It is the world to a deploy's runner (Fleet): it
 * shows what is, writes records down, and does what it is told.
 */
import { existsSync } from "node:fs";
import { beginDeployment } from "../deploy/begin.ts";
import { type Deployment, isActive, isTerminal, phaseStartedAt, type Wish } from "../deploy/deployment.ts";
import type { Fleet, Observation } from "../deploy/fleet.ts";
import { decideRollback } from "../deploy/rollback.ts";
import { Runner } from "../deploy/runner.ts";
import { CodedError, messageOf } from "../handoff/coded-error.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import type { Listener } from "../handoff/listener.ts";
import { isFree } from "../handoff/listener.ts";
import { directoryOf } from "./account.ts";
import type { ServiceConfig } from "./config/config.ts";
import {
  deployUnknown,
  directoryMissing,
  modeTooWeak,
  nothingRuns,
  stopping,
  versionInvalid,
  versionMissing,
} from "./errors.ts";
import { Generation, type GenerationHooks, type GenerationRecord } from "./generation.ts";
import { familyHolds } from "./proc.ts";
import { IdleSlots } from "./slots.ts";
import type { ServiceRecord, SnapshotStore } from "./snapshot.ts";
import type { Surroundings } from "./surroundings.ts";
import { ACCEPT_MS } from "./verification.ts";

/** Ended deploys that are remembered, for `history` and `rollback`. */
const REMEMBERED = 100;
/** The daemon's own ready timeout speaks first, since it can say what the application did instead. */
const READY_GRACE_MS = 500;
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/u;

export interface DeployWish {
  /** undefined: the version that is current, or remembered, or configured. */
  readonly version?: string | null | undefined;
  readonly strategy?: Deployment["strategy"] | undefined;
  readonly bakeMs?: number | undefined;
  readonly isRollback?: boolean;
}

export class Service implements Fleet {
  readonly name: string;
  readonly config: ServiceConfig;
  readonly #listeners: ReadonlyMap<string, Listener>;
  readonly #surroundings: Surroundings;
  readonly #store: SnapshotStore;
  readonly #idle: IdleSlots;
  readonly #generations = new Map<number, Generation>();
  readonly #runners = new Map<string, Runner>();
  readonly #wakes = new Map<string, NodeJS.Timeout>();
  /** The newest first. */
  #deploys: Deployment[] = [];
  #current: number | null = null;
  #candidate: number | null = null;
  #previous: number | null = null;
  #lastNumber = 0;
  #version: string | null;
  #isStopping = false;
  #failedStarts = 0;
  #retry: NodeJS.Timeout | null = null;

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

  get deploys(): readonly Deployment[] {
    return this.#deploys;
  }

  /** The deploy that stands in the way of another one; null when there is none. */
  get activeDeploy(): Deployment | null {
    const latest = this.#deploys[0];
    return latest !== undefined && isActive(latest) ? latest : null;
  }

  get state(): "starting" | "running" | "degraded" | "stopped" {
    const current = this.#generation(this.#current);
    if (current === null) return this.activeDeploy === null ? "stopped" : "starting";
    const { ready, wanted } = current.view;
    return ready < wanted ? "degraded" : "running";
  }

  // --- coming up ---

  /** Starts the remembered, else the configured version. What became of it is a deploy like any other. */
  begin(record: ServiceRecord | null): void {
    this.#remember(record);
    this.#firstStart();
  }

  /**
   * Goes on from another daemon's death, with its listeners resumed. `kept` has the notify sockets that the keeper gave
   * back; those that are used are taken out of it.
   */
  async recover(record: ServiceRecord, kept: Map<string, Descriptor>): Promise<void> {
    this.#remember(record);
    this.#current = record.current;
    this.#candidate = record.candidate;
    this.#previous = record.previous;
    for (const each of record.generations) {
      this.#generations.set(
        each.number,
        Generation.recover(each, this.#listeners, this.#hooks, this.#surroundings),
      );
    }
    for (const each of record.generations) this.#generations.get(each.number)?.resume(each, kept);
    await this.#proveSlots();
    this.#idle.findHolders();
    for (const deployment of [...this.#deploys].reverse()) {
      if (isTerminal(deployment)) continue;
      this.#runners.set(deployment.id, this.#run(deployment));
    }
    // Those whose deploy had ended, but not they: a failed candidate that was still being ended.
    const wanted = new Set([this.#current, this.#candidate, this.#previous]);
    for (const generation of this.#generations.values()) {
      if (!wanted.has(generation.number) && !this.#isWatched(generation.number)) generation.retire();
    }
    this.#advance();
    this.#idle.review();
    if (this.#generation(this.#current) === null && this.activeDeploy === null) this.#firstStart();
  }

  #remember(record: ServiceRecord | null): void {
    if (record === null) return;
    this.#lastNumber = record.lastNumber;
    this.#version = record.version ?? this.config.version;
    this.#deploys = [...record.deploys];
  }

  /**
   * A pinned connection must arrive in exactly its slot before a weight is changed. Where it does not, the kernel's
   * program stays as it is: it was right when it was attached.
   */
  async #proveSlots(): Promise<void> {
    for (const listener of this.#listeners.values()) {
      try {
        listener.assertAlone();
        for (const slot of listener.slots) {
          const owner = [...this.#generations.values()].find(({ name }) => name === slot.owner);
          await listener.prove(slot, (inode) => owner !== undefined && familyHolds(owner.pids(), inode));
        }
        listener.steer(listener.shares);
      } catch (error) {
        this.#surroundings.say(
          {
            type: "listener.not-proved",
            service: this.name,
            listener: listener.name,
            message: messageOf(error),
            ...(error instanceof CodedError ? { code: error.code } : {}),
          },
          "error",
        );
      }
    }
  }

  #firstStart(): void {
    if (this.#isStopping) return;
    try {
      this.deploy({}, "handoffd (start)");
    } catch (error) {
      this.#surroundings.say(
        {
          type: "service.not-started",
          service: this.name,
          message: `${this.name} cannot be started: ${messageOf(error)}`,
          ...(error instanceof CodedError ? { code: error.code } : {}),
        },
        "error",
      );
      this.#startAgainLater();
    }
  }

  /** A host that boots may not have everything that the service needs yet. */
  #startAgainLater(): void {
    const { backoffMinMs, backoffMaxMs } = this.config.restart;
    const delay = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#failedStarts++);
    this.#retry = setTimeout(() => {
      this.#retry = null;
      if (this.#current === null && this.activeDeploy === null) this.#firstStart();
    }, delay);
  }

  // --- what people ask ---

  /** Accepts a deploy. Throws a CodedError, and has changed nothing, when it cannot begin. */
  deploy(wish: DeployWish, requestedBy: string): Deployment {
    if (this.#isStopping) throw stopping();
    const current = this.#generation(this.#current);
    const version =
      wish.version === undefined ? (current === null ? this.#version : current.version) : wish.version;
    this.#assertStartable(version);
    const strategy = wish.strategy ?? this.config.deploy.strategy;
    if (current !== null) {
      const shared = [...this.#listeners.values()].find(({ mode }) => mode === "shared");
      if (shared !== undefined) throw modeTooWeak(this.name, strategy, shared.name);
    }
    const to = this.#lastNumber + 1;
    const { ready, verify, deploy } = this.config;
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
        options: {
          readyTimeoutMs: ready.timeoutMs + READY_GRACE_MS,
          verifyTimeoutMs:
            verify.reduce((sum, step) => sum + step.timeoutMs, 0) + (this.#listeners.size + 1) * ACCEPT_MS,
          bakeMs: wish.bakeMs ?? deploy.bakeMs,
          watchExits: deploy.watch.exits,
        },
      },
      this.#deploys[0] ?? null,
      Date.now(),
    );
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#lastNumber = to;
    this.#candidate = to;
    this.record(deployment);
    const runner = this.#run(deployment);
    this.#runners.set(deployment.id, runner);
    runner.advance();
    return this.deployment(deployment.id);
  }

  rollback(requestedBy: string): Deployment {
    const decision = decideRollback(this.name, this.#deploys);
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
    const runner = this.#runners.get(id);
    if (runner === undefined) {
      // Ended: the rules of deploy/ say what may still be asked, which is nothing.
      new Runner(this, this.deployment(id)).request("promote");
    } else if (wish === "pause") runner.pause();
    else if (wish === "continue") runner.continue();
    else runner.request(wish);
    return this.deployment(id);
  }

  deployment(id: string): Deployment {
    const found = this.#deploys.find((deployment) => deployment.id === id);
    if (found === undefined) throw deployUnknown(id);
    return found;
  }

  #assertStartable(version: string | null): void {
    if (version !== null && !VERSION.test(version)) throw versionInvalid(version);
    if (version === null && this.config.directory?.includes("{version}") === true)
      throw versionMissing(this.name);
    const directory = directoryOf(this.config, version);
    if (directory !== null && !existsSync(directory)) throw directoryMissing(directory, this.name);
  }

  // --- going down ---

  /** Drains and ends everything. New connections wait in an idle slot meanwhile; whoever closes the listeners ends that. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    const active = this.activeDeploy;
    try {
      if (active !== null) this.#runners.get(active.id)?.request("abort");
    } catch {
      // It cannot be aborted in this phase: then its candidate serves, and is drained with the others.
    }
    await this.#idle.stop();
    for (const listener of this.#listeners.values()) {
      const idle = listener.slots.find((slot) => isFree(listener, slot));
      if (idle !== undefined && listener.mode !== "shared") listener.steer([{ slot: idle.index, share: 1 }]);
    }
    const ended = [...this.#generations.values()].map((generation) => this.#over(generation));
    for (const generation of this.#generations.values()) generation.retire();
    await Promise.all(ended);
    for (const timer of this.#wakes.values()) clearTimeout(timer);
    this.#current = this.#candidate = this.#previous = null;
    this.#generations.clear();
    this.#persist();
  }

  readonly #endings = new Map<number, () => void>();

  #over(generation: Generation): Promise<void> {
    if (generation.isOver) return Promise.resolve();
    return new Promise((resolve) => this.#endings.set(generation.number, resolve));
  }

  /** Gives the instances' notify sockets to the keeper, a new one that holds nothing yet. */
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
    const before = this.#deploys;
    const known = before.find(({ id }) => id === deployment.id);
    this.#deploys =
      known === undefined
        ? [deployment, ...before].slice(0, REMEMBERED)
        : before.map((each) => (each.id === deployment.id ? deployment : each));
    try {
      this.#write();
    } catch (error) {
      this.#deploys = before;
      throw error;
    }
    this.#sayChange(known, deployment);
  }

  start(deployment: Deployment): void {
    this.#idle.reviewHeld();
    const generation = Generation.create(
      this.config,
      deployment.to,
      deployment.version,
      this.#listeners,
      this.#hooks,
      this.#surroundings,
    );
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
    for (const { listener, slot } of candidate.placements) {
      const other = previous?.placements.find((each) => each.listener === listener)?.slot;
      const rest = other ?? listener.slots.find((each) => each.owner === null);
      const shares = [{ slot: slot.index, share }];
      if (share < 1 && rest !== undefined) shares.push({ slot: rest.index, share: 1 - share });
      listener.steer(shares);
    }
    candidate.setWeight(share);
    previous?.setWeight(1 - share);
    const isAll = share === 1;
    this.#current = isAll ? deployment.to : deployment.from;
    this.#candidate = isAll ? null : deployment.to;
    this.#previous = isAll ? deployment.from : null;
    if (isAll) this.#failedStarts = 0;
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
    const pending = this.#wakes.get(deployment.id);
    if (pending !== undefined) clearTimeout(pending);
    this.#wakes.delete(deployment.id);
    if (at === null) return;
    const timer = setTimeout(() => this.#advance(), Math.max(0, at - Date.now()));
    this.#wakes.set(deployment.id, timer);
  }

  // --- inside ---

  #generation(number: number | null): Generation | null {
    return number === null ? null : (this.#generations.get(number) ?? null);
  }

  readonly #hooks: GenerationHooks = {
    onChange: () => {
      this.#persist();
      this.#advance();
    },
    onEnded: () => {
      this.#idle.findHolders();
      this.#idle.review();
    },
  };

  #run(deployment: Deployment): Runner {
    return new Runner(this, deployment, (ended) => {
      this.#surroundings.tally.deployEnded(this.name, ended.strategy, ended.phase);
      this.wake(ended, null);
      this.#runners.delete(ended.id);
      if (ended.phase === "succeeded") this.#version = ended.version;
      if (this.#candidate === ended.to) this.#candidate = null;
      this.#persist();
      if (this.#current === null && !this.#isStopping && ended.phase !== "aborted") this.#startAgainLater();
    });
  }

  #advance(): void {
    for (const runner of [...this.#runners.values()]) {
      try {
        runner.advance();
      } catch (error) {
        // The deploy is where it was: it goes on with the next change, or in a second.
        this.#surroundings.log.error({ err: error, deploy: runner.deployment.id }, "a deploy cannot go on");
        this.wake(runner.deployment, Date.now() + 1_000);
      }
    }
    this.#forgetEnded();
  }

  /** Generations that have ended are kept as long as a deploy looks at them. */
  #forgetEnded(): void {
    for (const generation of this.#generations.values()) {
      if (!generation.isOver) continue;
      this.#endings.get(generation.number)?.();
      this.#endings.delete(generation.number);
      if (!this.#isWatched(generation.number)) this.#generations.delete(generation.number);
    }
  }

  #isWatched(number: number): boolean {
    return [...this.#runners.values()].some(
      ({ deployment }) => deployment.to === number || deployment.from === number,
    );
  }

  #persist(): void {
    try {
      this.#write();
    } catch (error) {
      this.#surroundings.log.error({ err: error, service: this.name }, "the state cannot be written");
    }
  }

  #write(): void {
    const generations: GenerationRecord[] = [...this.#generations.values()].map(({ record }) => record);
    this.#store.write({
      service: this.name,
      lastNumber: this.#lastNumber,
      version: this.#version,
      current: this.#current,
      candidate: this.#candidate,
      previous: this.#previous,
      deploys: this.#deploys,
      generations,
    });
  }

  #sayChange(before: Deployment | undefined, after: Deployment): void {
    if (before === undefined || before.phase !== after.phase) {
      const last = after.phases.at(-2);
      if (before !== undefined && last !== undefined) {
        const seconds = (phaseStartedAt(after) - last.startedAt) / 1000;
        this.#surroundings.tally.phaseEnded(this.name, last.phase, seconds);
      }
      const bad = after.phase === "failed" || after.phase === "rolling-back" || after.phase === "aborted";
      this.#surroundings.say(
        {
          type: "deploy.phase",
          service: this.name,
          deploy: after.id,
          generation: after.to,
          phase: after.phase,
          message: `deploy ${after.id}: ${after.phase}${after.reason === null ? "" : `: ${after.reason.message}`}`,
          ...(after.reason === null ? {} : { code: after.reason.code }),
        },
        bad ? "warn" : "info",
      );
      return;
    }
    this.#surroundings.say({
      type: "deploy.changed",
      service: this.name,
      deploy: after.id,
      generation: after.to,
      message: `deploy ${after.id}: weight ${after.weight}${after.wish === null ? "" : `, asked to ${after.wish}`}${after.paused ? ", paused" : ""}`,
    });
  }
}
