/**
 * The daemon's whole: its listeners, its services, and what the API may ask of them (Operations). It has no policy of its own.
 */
import { openSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { deployUnknown, serviceUnknown } from "../admin-api/errors.ts";
import { EventLog } from "../admin-api/events.ts";
import type { Caller, MetricsPage, Operations } from "../admin-api/operations.ts";
import type {
  Deploy,
  DeployList,
  DeployQuery,
  DeployRequest,
  Health,
  Status,
  Upgrade as UpgradeBody,
} from "../admin-api/schemas.ts";
import { type Deployment, isTerminal, type Wish } from "../deploy/deployment.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import { type Keeper, KeeperProcess, NO_KEEPER } from "../handoff/keeper.ts";
import type { Listener } from "../handoff/listener.ts";
import { packageVersion } from "../handoff/version.ts";
import type { Config } from "./config/config.ts";
import { parseDuration } from "./config/values.ts";
import { pause } from "./ending.ts";
import { stepsUnusable, stopping } from "./errors.ts";
import { keeperWithFaultPoints, reach } from "./fault.ts";
import { marksOf, openListeners } from "./listeners.ts";
import { type Marks, openMarks } from "./marks.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { recoveredEvent, sourceOf } from "./recovery.ts";
import { moved, type RescuedSlot, rescueSlots } from "./rescue.ts";
import { Service } from "./service.ts";
import { type ServiceRecord, SnapshotStore } from "./snapshot.ts";
import { endStrays } from "./strays.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Parts } from "./upgrade-body.ts";
import type { Inheritance } from "./upgrade-state.ts";
import { deployBody, listenerBody, serviceBody } from "./view.ts";

const PAGE = 20;
const KEEPER_RETRY_MS = 1_000;

/** How this daemon came into the world, and how it goes on as another. */
export interface Beginning {
  /** null: it was started. */
  readonly inherited: Inheritance | null;
  /** See Operations.upgrade. */
  readonly upgrade: (requestedBy: string) => Promise<UpgradeBody>;
}

export class Supervisor implements Operations {
  readonly events: EventLog;
  readonly #log: Logger;
  readonly #startedAt: Date;
  readonly #upgrades: number;
  readonly #beginUpgrade: Beginning["upgrade"];
  readonly #metrics: Metrics;
  readonly #surroundings: Surroundings;
  readonly #config: Config;
  readonly #store: SnapshotStore;
  readonly #listeners = new Map<string, Listener>();
  readonly #services = new Map<string, Service>();
  #keeper: Keeper = NO_KEEPER;
  #keeperPid: number | null = null;
  #marks: Marks | null = null;
  #isStopping = false;
  /** Something lives already that another daemon has left. */
  #isRecovery = true;

  private constructor(config: Config, log: Logger, { inherited, upgrade }: Beginning) {
    this.#config = config;
    this.#log = log;
    this.events = new EventLog({ after: inherited?.state.events });
    this.#startedAt = new Date(inherited?.state.startedAt ?? Date.now());
    this.#upgrades = inherited === null ? 0 : inherited.state.upgrades + 1;
    this.#beginUpgrade = upgrade;
    this.#store = new SnapshotStore(config.paths.state);
    this.#metrics = createMetrics(packageVersion(), () => this.status());
    this.#surroundings = {
      runtime: config.paths.runtime,
      state: config.paths.state,
      keeper: () => this.#keeper,
      devNull: openSync("/dev/null", "r+"),
      log,
      tally: this.#metrics,
      say: ({ message, type, ...rest }, level = "info") => {
        const deploy = rest.deploy ?? this.#deployAbout(rest.service, rest.generation);
        const about = deploy === undefined ? rest : { ...rest, deploy };
        log[level]({ ...about, detail: message }, type);
        this.events.append({ type, message, ...about });
      },
      connectionsOf: (marks) => {
        const counts = this.#marks?.count();
        return counts === undefined ? null : marks.reduce((sum, mark) => sum + (counts.get(mark) ?? 0), 0);
      },
      keepers: () => new Set([process.pid, ...(this.#keeperPid === null ? [] : [this.#keeperPid])]),
    };
  }

  /**
   * Opens the listeners (or goes on with those that another daemon has left) and begins every service. Returns when
   * that is under way. Throws a CodedError when an address cannot be had, and then nothing is left open.
   */
  static async open(config: Config, log: Logger, beginning: Beginning): Promise<Supervisor> {
    const supervisor = new Supervisor(config, log, beginning);
    const { inherited } = beginning;
    const kept = inherited?.takeKept() ?? new Map<string, Descriptor>();
    try {
      await supervisor.#openKeeper(kept, inherited !== null);
      reach("recovery.listed");
      supervisor.#isRecovery = kept.size > 0;
      await supervisor.#begin(kept, inherited);
    } catch (error) {
      // What a dead daemon has left stays with its keeper, for a start that succeeds.
      if (!supervisor.#isRecovery) await supervisor.#closeListeners();
      throw error;
    } finally {
      for (const descriptor of kept.values()) descriptor.close();
    }
    return supervisor;
  }

  async #begin(kept: Map<string, Descriptor>, inherited: Inheritance | null): Promise<void> {
    const read = new Map(this.#config.services.map(({ name }) => [name, this.#store.read(name)]));
    const source = sourceOf(kept, inherited, read);
    this.#isRecovery = source !== null;
    const rescued = source === "pidfd" ? rescueSlots(read.values()) : new Map<string, RescuedSlot[]>();
    if (inherited !== null) this.#metrics.restore(inherited.state.counters);
    reach("recovery.read");
    this.#marks = openMarks(this.#config, read, marksOf(kept), this.#log);
    const places = await openListeners(
      this.#config,
      read,
      kept,
      this.#marks,
      this.#listeners,
      this.#surroundings,
      rescued,
    );
    const records = source === "pidfd" ? moved(read, places) : read;
    reach("recovery.listeners");
    for (const config of this.#config.services) {
      const listeners = new Map(config.listeners.map((name) => [name, this.#listener(name)]));
      this.#services.set(config.name, new Service(config, listeners, this.#store, this.#surroundings));
      if (config.user === null) {
        this.#log.warn(
          { service: config.name },
          "the service runs as the daemon's own user: its processes could join a listener's group by themselves; give it a user",
        );
      }
    }
    if (source !== null) {
      this.#metrics.recovered(source);
      if (source === "upgrade") this.#metrics.upgraded("succeeded");
      this.#surroundings.say(recoveredEvent(source, inherited));
    }
    for (const [name, service] of this.#services)
      await this.#beginService(service, records.get(name) ?? null, source !== null, kept);
    if (source === "pidfd") await this.#keepAll();
    const unused = [...kept.keys()];
    if (unused.length > 0) await this.#keeper.remove(unused);
    reach("recovery.done");
    if (inherited !== null) endStrays([...this.#services.values()], this.#keeperPid);
  }

  async #beginService(
    service: Service,
    record: ServiceRecord | null,
    isRecovery: boolean,
    kept: Map<string, Descriptor>,
  ): Promise<void> {
    if (isRecovery && record !== null) await service.recover(record, kept);
    else await service.begin(record);
  }

  /** What the keeper holds is added to `kept`, unless that came with an upgrade and is complete. */
  async #openKeeper(kept: Map<string, Descriptor>, isUpgrade: boolean): Promise<void> {
    if (this.#config.keeper === "off") return;
    const path = join(this.#config.paths.runtime, "keeper.sock");
    const found = KeeperProcess.connect(path);
    const keeper = found ?? this.#startKeeper();
    this.#useKeeper(keeper);
    if (!isUpgrade) for (const [name, descriptor] of await keeper.list()) kept.set(name, descriptor);
    // It has died within the moment of the upgrade.
    else if (found === null) for (const [name, { fd }] of kept) await keeper.put(name, fd);
  }

  #useKeeper(keeper: KeeperProcess): void {
    this.#keeper = keeperWithFaultPoints(keeper);
    this.#keeperPid = keeper.pid;
    keeper.watch(() => {
      if (!this.#isStopping) void this.#replaceKeeper(keeper);
    });
  }

  /** The keeper has died, or does not answer: another one gets everything again, and then the old one ends for certain. */
  async #replaceKeeper(old: KeeperProcess): Promise<void> {
    this.#surroundings.say(
      {
        type: "keeper.lost",
        message: "the keeper has ended or does not answer; another one is given every slot",
      },
      "error",
    );
    while (!this.#isStopping) {
      try {
        this.#useKeeper(this.#startKeeper());
        await this.#keepAll();
        break;
      } catch (error) {
        this.#log.error({ err: error }, "slots are not held outside the daemon; trying again");
        await pause(KEEPER_RETRY_MS);
      }
    }
    old.kill();
  }

  async #keepAll(): Promise<void> {
    for (const listener of this.#listeners.values()) await listener.keep();
    for (const service of this.#services.values()) await service.keep();
  }

  #startKeeper(): KeeperProcess {
    const path = join(this.#config.paths.runtime, "keeper.sock");
    return KeeperProcess.start(path, [this.#surroundings.devNull, 1, 2]);
  }

  /** Drains and ends every service, closes every listener, lets the keeper go. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all([...this.#services.values()].map((service) => service.stop()));
    await this.#closeListeners();
  }

  /** Ends every process at once: the second SIGTERM. */
  kill(): void {
    for (const service of this.#services.values()) service.kill();
  }

  async #closeListeners(): Promise<void> {
    this.#isStopping = true;
    for (const listener of this.#listeners.values()) {
      try {
        const lost = await listener.close();
        if (lost > 0) {
          this.#log.warn(
            { listener: listener.name, connections: lost },
            "connections were waiting when the listener was closed: they are reset",
          );
        }
      } catch (error) {
        // The others are closed all the same, and the keeper lets go of everything in the end.
        this.#log.error({ err: error, listener: listener.name }, "a listener could not be closed");
      }
    }
    this.#listeners.clear();
    await this.#keeper.release();
  }

  /** For another image that goes on: everything that the daemon consists of. */
  get parts(): Parts {
    return {
      services: [...this.#services.values()],
      listeners: [...this.#listeners.values()],
      metrics: this.#metrics,
      startedAt: this.#startedAt.getTime(),
      upgrades: this.#upgrades,
      say: this.#surroundings.say,
    };
  }

  // --- Operations ---

  health(): Health {
    const reasons = [...this.#services.values()]
      .filter(({ state }) => state !== "running")
      .map(({ name, state }) => `service ${name} is ${state}`);
    if (this.#isStopping) reasons.unshift("the daemon is stopping");
    return { ready: reasons.length === 0, reasons };
  }

  status(): Status {
    const connections = this.#marks?.count() ?? null;
    for (const service of this.#services.values()) {
      // What it finds is shown by the next look: this one does not wait for it.
      service.reviewHeld().catch((error: unknown) => this.#log.error({ err: error }, "a fault"));
    }
    return {
      version: packageVersion(),
      pid: process.pid,
      startedAt: this.#startedAt.toISOString(),
      upgrades: this.#upgrades,
      listeners: [...this.#listeners.values()].map((listener) => listenerBody(listener)),
      services: [...this.#services.values()].map((service) => serviceBody(service, connections)),
    };
  }

  async metrics(): Promise<MetricsPage> {
    return { contentType: this.#metrics.contentType, body: await this.#metrics.page() };
  }

  deploy(name: string, request: DeployRequest, caller: Caller): Deploy {
    if (request.steps !== undefined) throw stepsUnusable();
    return deployBody(
      this.#service(name).deploy(
        {
          version: request.version,
          strategy: request.strategy,
          bakeMs: request.bake === undefined ? undefined : parseDuration(request.bake),
        },
        caller.name,
      ),
    );
  }

  rollback(name: string, caller: Caller): Deploy {
    return deployBody(this.#service(name).rollback(caller.name));
  }

  restart(name: string, caller: Caller): Deploy {
    return deployBody(this.#service(name).restart(caller.name));
  }

  upgrade(caller: Caller): Promise<UpgradeBody> {
    if (this.#isStopping) throw stopping();
    return this.#beginUpgrade(caller.name);
  }

  listDeploys({ service, limit = PAGE, before }: DeployQuery): DeployList {
    const services = service === undefined ? [...this.#services.values()] : [this.#service(service)];
    const all = services
      .flatMap(({ deploys }) => deploys)
      .sort((a, b) => b.startedAt - a.startedAt || b.to - a.to);
    const start = before === undefined ? 0 : all.findIndex(({ id }) => id === before) + 1;
    if (before !== undefined && start === 0) throw deployUnknown(before);
    const page = all.slice(start, start + limit);
    return {
      deploys: page.map((deployment) => deployBody(deployment)),
      next: start + limit < all.length ? (page.at(-1)?.id ?? null) : null,
    };
  }

  getDeploy(id: string): Deploy {
    return deployBody(this.#find(id).deployment);
  }

  promote(id: string): Deploy {
    return this.#ask(id, "promote");
  }

  abort(id: string): Deploy {
    return this.#ask(id, "abort");
  }

  pause(id: string): Deploy {
    return this.#ask(id, "pause");
  }

  continueDeploy(id: string): Deploy {
    return this.#ask(id, "continue");
  }

  #ask(id: string, wish: Wish | "pause" | "continue"): Deploy {
    return deployBody(this.#find(id).service.ask(id, wish));
  }

  /** The deploy under way that starts or ends this generation: whoever follows it sees what becomes of that. */
  #deployAbout(service: string | undefined, generation: number | undefined): string | undefined {
    if (service === undefined || generation === undefined) return undefined;
    return this.#services
      .get(service)
      ?.deploys.find(
        (deployment) =>
          !isTerminal(deployment) && (deployment.to === generation || deployment.from === generation),
      )?.id;
  }

  #find(id: string): { readonly service: Service; readonly deployment: Deployment } {
    for (const service of this.#services.values()) {
      const deployment = service.deploys.find((each) => each.id === id);
      if (deployment !== undefined) return { service, deployment };
    }
    throw deployUnknown(id);
  }

  #service(name: string): Service {
    const service = this.#services.get(name);
    if (service === undefined) throw serviceUnknown(name, [...this.#services.keys()]);
    return service;
  }

  #listener(name: string): Listener {
    const listener = this.#listeners.get(name);
    if (listener === undefined) throw new Error(`no listener ${name}`); // The configuration's check has seen to it.
    return listener;
  }
}
