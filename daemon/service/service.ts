/**
 * A service: what people ask of it, how it comes up and how it goes down. Its generations and their roles are the roster's; what a
 * deploy or a hold does to them is service-fleet.ts.
 */
import { type Deployment, hasHadUsers, type Wish } from "../../deploy/deployment.ts";
import { assertNotHeld, decideResume, type HoldRequest, type Standing } from "../../deploy/hold.ts";
import { decideRollback } from "../../deploy/rollback.ts";
import { decideScale } from "../../deploy/scale.ts";
import type { Listener } from "../../handoff/listener.ts";
import type { ApplicationStore } from "../generation/application-store.ts";
import type { ServiceConfig } from "../config/config.ts";
import { deployOptions, type DeployWish } from "./deploy-options.ts";
import { newDeployment } from "./deploy-request.ts";
import { Deploys } from "./deploys.ts";
import type { Remembered } from "./evidence.ts";
import { nothingRuns, stopping } from "../errors.ts";
import { withFaultPoints } from "../fault.ts";
import type { LookForHolders } from "../sockets/holders.ts";
import { type Held, Holding } from "./holding.ts";
import { FirstStart } from "./first-start.ts";
import { Generation } from "../generation/generation.ts";
import type { Instance } from "../generation/instance.ts";
import type { GenerationHooks } from "../generation/generation-record.ts";
import { proveSlots, type Remains } from "../recovery.ts";
import { Roster, type ServiceState } from "./roster.ts";
import { ServiceFleet } from "./service-fleet.ts";
import { IdleSlots } from "../sockets/slots.ts";
import { holdAside } from "../sockets/steer.ts";
import type { ServiceRecord, SnapshotStore } from "../state/snapshot.ts";
import type { Surroundings } from "../surroundings.ts";

export class Service {
  readonly name: string;
  readonly #surroundings: Surroundings;
  readonly #roster: Roster;
  readonly #fleet: ServiceFleet;
  readonly #holding: Holding;
  readonly #idle: IdleSlots;
  readonly #deploys: Deploys;
  readonly #firstStart: FirstStart;
  #config: ServiceConfig;
  #listeners: ReadonlyMap<string, Listener>;
  #isStopping = false;

  constructor(
    config: ServiceConfig,
    listeners: ReadonlyMap<string, Listener>,
    store: SnapshotStore,
    surroundings: Surroundings,
  ) {
    this.name = config.name;
    this.#config = config;
    this.#listeners = listeners;
    this.#surroundings = surroundings;
    this.#roster = new Roster(
      config.name,
      config.version,
      store,
      () => this.#deploys.all,
      () => this.#listeners,
      surroundings,
    );
    this.#fleet = new ServiceFleet(
      {
        service: config.name,
        roster: this.#roster,
        deploys: () => this.#deploys,
        config: () => this.#config,
        listeners: () => this.#listeners,
        hooks: this.#hooks,
        onWeighed: () => this.#weighed(),
      },
      surroundings,
    );
    this.#holding = new Holding(this.#roster, this.#fleet, surroundings);
    this.#firstStart = new FirstStart(
      config.name,
      config.restart,
      () => this.deploy({}, "handoffd (start)"),
      surroundings,
    );
    this.#deploys = new Deploys(
      withFaultPoints(this.#fleet),
      (deployment) => this.#deployEnded(deployment),
      surroundings,
    );
    this.#idle = new IdleSlots(
      config.name,
      () => [...this.#listeners.values()].filter(({ name }) => this.#config.listeners.includes(name)),
      () => this.#accepting,
      surroundings,
    );
  }

  /** As it is for the deploys to come. */
  get config(): ServiceConfig {
    return this.#config;
  }

  get current(): number | null {
    return this.#roster.current;
  }

  get candidate(): number | null {
    return this.#roster.candidate;
  }

  get previous(): number | null {
    return this.#roster.previous;
  }

  get generations(): readonly Generation[] {
    return this.#roster.generations;
  }

  /** All that holds descriptors of its applications. */
  get holders(): readonly (Instance | ApplicationStore)[] {
    return [...this.generations.flatMap(({ instances }) => instances), ...this.#roster.stores];
  }

  /** null: new connections are not held. */
  get held(): Held | null {
    return this.#holding.view;
  }

  /** The newest first. */
  get deploys(): readonly Remembered[] {
    return this.#deploys.all;
  }

  /** The deploy that stands in the way of another one; null when there is none. */
  get activeDeploy(): Deployment | null {
    return this.#deploys.active;
  }

  get state(): ServiceState {
    return this.#roster.state(this.activeDeploy !== null);
  }

  /** Looks again at slots that were held by someone when it was last asked. */
  readonly reviewHeld = (): Promise<void> => this.#idle.reviewHeld();

  // --- coming up ---

  /** Starts the remembered, else the configured version, by a deploy like any other. What was held when all died is held again. */
  async begin(record: ServiceRecord | null, holders?: LookForHolders): Promise<void> {
    this.#remember(record);
    // Nothing of a deploy that was under way runs any more.
    this.#deploys.endInterrupted(Date.now());
    await this.#idle.findHolders([], holders);
    this.#holding.restore(record);
    if (this.held === null) this.#firstStart.now();
  }

  /**
   * Goes on from another daemon's death, with its listeners resumed. One that is leaving begins nothing by itself: `stop`
   * follows.
   */
  async recover(record: ServiceRecord, { kept, holders, isLeaving }: Remains): Promise<void> {
    this.#isStopping = isLeaving;
    this.#remember(record);
    this.#roster.resume(record);
    for (const each of record.generations) {
      this.#roster.add(new Generation(each, this.#listeners, this.#hooks, this.#surroundings));
    }
    for (const deployment of record.deploys) {
      if (hasHadUsers(deployment)) this.#roster.find(deployment.to)?.assumeUsers();
    }
    for (const generation of this.generations) generation.resume(kept);
    await proveSlots(this.name, this.#listeners.values(), this.generations, this.#surroundings);
    await this.#idle.findHolders([], holders);
    this.#fleet.unpause();
    this.#deploys.goOn();
    this.#holding.advance();
    this.#roster.persist();
    // Those that no role and no deploy needs: a failed candidate that was still being ended.
    const { current, candidate, previous, hold } = this.#roster;
    const needed = new Set([current, candidate, previous, hold?.from ?? null, hold?.to ?? null]);
    for (const generation of this.generations) {
      if (!needed.has(generation.number) && !this.#deploys.watches(generation.number)) generation.retire();
    }
    this.#forgetEnded();
    this.#idle.review();
    if (this.state === "stopped" && !isLeaving) this.#firstStart.now();
  }

  #remember(record: ServiceRecord | null): void {
    if (record === null) return;
    this.#roster.remember(record);
    this.#deploys.restore(record.deploys);
  }

  // --- what people ask ---

  /** Accepts a deploy. Throws a CodedError, and has changed nothing, when it cannot begin. */
  deploy(wish: DeployWish, requestedBy: string): Deployment {
    if (this.#isStopping) throw stopping();
    assertNotHeld(this.#standing);
    const circumstances = {
      ...this.#standing,
      config: this.#config,
      listeners: this.#listeners,
      version: this.#roster.version,
      options: (complete: DeployWish & { readonly version: string | null }) => this.#options(complete),
    };
    const deployment = newDeployment(circumstances, wish, requestedBy, Date.now());
    const begun = this.#deploys.begin(deployment);
    this.#firstStart.cancel();
    return begun;
  }

  rollback(requestedBy: string): Deployment {
    assertNotHeld(this.#standing);
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
    assertNotHeld(this.#standing);
    const current = this.#current;
    if (current === null) throw nothingRuns(this.name);
    return this.deploy({ version: current.version }, requestedBy);
  }

  /**
   * From when it has its slots, which takes a moment, new connections wait in a queue that nobody serves; what serves now drains and
   * ends, or (`idles`) goes on without new ones. Asked again it changes nothing. Throws a CodedError when it cannot.
   */
  hold(request: HoldRequest): void {
    if (this.#isStopping) throw stopping();
    this.#holding.begin(this.#standing, request);
  }

  /** Starts a generation of the held release on the slots on which connections wait. Throws NOT_HELD. */
  resume(requestedBy: string): Deployment {
    if (this.#isStopping) throw stopping();
    const { hold } = this.#roster;
    const overlaps = this.#config.deploy.strategy !== "recreate";
    const options = { ...this.#options({ version: hold?.version ?? null }), overlaps };
    const id = `${this.name}-${hold?.to ?? 0}`;
    const deployment = decideResume(this.#standing, { id, requestedBy, options }, Date.now());
    return this.#roster.commit({ hold: null }, () => this.#deploys.begin(deployment));
  }

  /** So many instances of the current generation, and of those to come. Throws a CodedError when it cannot. */
  scale(instances: number, requestedBy: string): void {
    if (this.#isStopping) throw stopping();
    const current = this.#current;
    const decision = decideScale(this.#standing, current?.view ?? null, instances);
    this.#roster.commit({ instances }, () => this.#roster.write());
    const service = this.name;
    this.#surroundings.history.append({ type: "scale", id: service, service, by: requestedBy, instances });
    if (decision.do === "nothing") return;
    const message = `${service} gets ${instances} instances, asked for by ${requestedBy}`;
    this.#surroundings.say({ type: "service.scaled", service, message });
    current?.resize(instances);
  }

  /** When it returns, what could follow at once has been done. */
  ask(id: string, wish: Wish | "pause" | "continue"): Deployment {
    return this.#deploys.ask(id, wish);
  }

  /** What runs goes on as it is; the next deploy uses this. */
  reconfigure(config: ServiceConfig, listeners: ReadonlyMap<string, Listener>): void {
    // A number that someone asked for holds until the file says another one.
    if (config.instances !== this.#config.instances) this.#roster.instances = null;
    this.#config = config;
    this.#listeners = listeners;
    this.#roster.persist();
    this.#idle.review();
  }

  /** Drains and ends everything. New connections wait in an idle slot meanwhile; whoever closes the listeners ends that. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#roster.hold = null;
    this.#firstStart.cancel();
    const active = this.activeDeploy;
    try {
      if (active !== null) this.#deploys.ask(active.id, "abort");
    } catch {
      // It cannot be aborted in this phase: then its candidate serves, and is drained with the others.
    }
    await Promise.all([this.#fleet.stop(), this.#idle.stop()]);
    for (const listener of this.#listeners.values()) holdAside(listener, this.#surroundings);
    const ended = this.generations.map((generation) => this.#roster.over(generation));
    for (const generation of this.generations) generation.retire({ leavesQueue: false });
    await Promise.all(ended);
    this.#deploys.stop();
    this.#roster.clear();
    this.#roster.persist();
  }

  /** Ends every process at once. */
  kill(): void {
    for (const { process } of this.generations.flatMap(({ instances }) => instances))
      process?.killGroup("SIGKILL");
    this.#idle.kill();
  }

  /** Begins nothing any more, and ends what no record tells of. Returns when another image can go on. */
  async pause(): Promise<void> {
    this.#firstStart.cancel();
    await Promise.all(this.#pausing.map(async (part) => part.pause()));
  }

  /** There is no other image. */
  unpause(): void {
    for (const part of this.#pausing.toReversed()) part.unpause();
    if (this.state === "stopped" && !this.#isStopping) this.#firstStart.later();
  }

  /** In the order in which they hold still; they go on in the other one. */
  get #pausing(): readonly { pause(): Promise<void> | void; unpause(): void }[] {
    return [this.#deploys, this.#holding, this.#fleet, this.#idle, ...this.generations];
  }

  get #current(): Generation | null {
    return this.#roster.find(this.#roster.current);
  }

  /** Whose release takes what is left on idle slots; null: nobody may, since no process may run beside the others. */
  get #accepting(): Generation | null {
    const isExclusive = this.#deploys.active?.strategy === "recreate";
    if (isExclusive || this.#config.deploy.strategy === "recreate" || this.#roster.hold !== null) return null;
    return this.#current;
  }

  get #standing(): Standing {
    const current = this.#current;
    return {
      service: this.name,
      current: current === null ? null : { number: current.number, version: current.version },
      hold: this.#roster.hold,
      latest: this.#deploys.all[0] ?? null,
      nextNumber: this.#roster.lastNumber + 1,
    };
  }

  #options(wish: DeployWish & { readonly version: string | null }): Deployment["options"] {
    const current = this.#current;
    return deployOptions(
      this.#config,
      { ...wish, instances: this.#roster.instances },
      current === null
        ? null
        : { version: current.version, config: current.config, instances: current.view.wanted },
    );
  }

  readonly #hooks: GenerationHooks = {
    onChange: () => {
      this.#roster.review();
      // A deploy that goes on writes everything down before it acts; what is left to write is written here.
      this.#deploys.advance();
      this.#holding.advance();
      this.#roster.persist();
      this.#forgetEnded();
      this.#surroundings.changed();
    },
    onEnded: () => {
      this.#idle.review();
    },
    onGivingBack: (slots) => this.#idle.findHolders(slots),
    isAlone: (number) => this.#roster.isAlone(number),
    storeOf: (number) => this.#roster.find(number)?.store ?? null,
  };

  #weighed(): void {
    if (this.#current?.weight === 1) this.#firstStart.succeeded();
    this.#idle.review();
  }

  #deployEnded(deployment: Deployment): void {
    if (this.#roster.candidate === deployment.to) this.#roster.candidate = null;
    this.#roster.persist();
    this.#forgetEnded();
    if (this.#current === null && !this.#isStopping && deployment.phase !== "aborted")
      this.#firstStart.later();
    this.#surroundings.changed();
  }

  /** Generations that have ended are kept as long as a deploy or a hold looks at them. */
  #forgetEnded(): void {
    this.#roster.forgetEnded((number) => this.#deploys.watches(number) || this.#roster.hold?.to === number);
  }

  /** Writes down what is. Throws STATE_NOT_WRITTEN. */
  write(file?: "lasting"): void {
    this.#roster.write(file);
  }
}
