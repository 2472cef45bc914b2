/**
 * The daemon's whole: its listeners, its services, and what the API may ask of them (Operations). It has no policy of its own.
 */
import { openSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { serviceUnknown } from "../admin-api/errors.ts";
import { EventLog } from "../admin-api/events.ts";
import type { MetricsPage } from "../admin-api/operations.ts";
import type { Health, Reload, Status } from "../admin-api/schemas.ts";
import { isTerminal } from "../deploy/deployment.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import { type Keeper, KeeperProcess, NO_KEEPER } from "../handoff/keeper.ts";
import type { Listener } from "../handoff/listener.ts";
import { native } from "../handoff/native.ts";
import { queuesOfMany } from "../handoff/unix-listener.ts";
import { packageVersion } from "../handoff/version.ts";
import type { Config, ServiceConfig } from "./config/config.ts";
import { pause } from "./ending.ts";
import { serviceLeaving, stopping } from "./errors.ts";
import { healthOf } from "./health.ts";
import { History } from "./history.ts";
import { InventoryFile } from "./inventory.ts";
import { marksOf, openListener, openListeners } from "./listeners.ts";
import { Marks, openOf } from "./marks.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { leftBehind } from "./left-behind.ts";
import { sceneOf } from "./metrics/gauges.ts";
import { Reloader, type ReloadSources } from "./reload.ts";
import { Service } from "./service.ts";
import { type ServiceRecord, SnapshotStore } from "./snapshot.ts";
import type { Surroundings } from "./surroundings.ts";
import { listenerBody, serviceBody } from "./view.ts";

const KEEPER_RETRY_MS = 1_000;

export class Supervisor {
  readonly events = new EventLog();
  readonly #log: Logger;
  readonly #startedAt = new Date();
  readonly #metrics: Metrics;
  readonly #surroundings: Surroundings;
  readonly #config: Config;
  readonly #store: SnapshotStore;
  readonly #listeners = new Map<string, Listener>();
  readonly #services = new Map<string, Service>();
  readonly #inventory: InventoryFile;
  readonly #reloader: Reloader;
  #keeper: Keeper = NO_KEEPER;
  #keeperPid: number | null = null;
  #marks: Marks | null = null;
  #isStopping = false;

  private constructor(config: Config, sources: ReloadSources, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.#store = new SnapshotStore(config.paths.state, (service) => this.#metrics.stateNotWritten(service));
    this.#inventory = new InventoryFile(config.paths.state);
    this.#metrics = createMetrics(packageVersion(), () => sceneOf(this.status(), this.services));
    this.#surroundings = {
      runtime: config.paths.runtime,
      state: config.paths.state,
      keeper: () => this.#keeper,
      devNull: openSync("/dev/null", "r+"),
      log,
      tally: this.#metrics,
      history: new History(config.paths.state, log, () => this.#metrics.historyFailed()),
      say: ({ message, type, ...rest }, level = "info") => {
        const deploy = rest.deploy ?? this.#deployAbout(rest.service, rest.generation);
        const about = deploy === undefined ? rest : { ...rest, deploy };
        log[level]({ ...about, detail: message }, type);
        this.events.append({ type, message, ...about });
      },
      connectionsOf: (marks) => {
        return marks.length === 0 ? null : openOf(marks, this.count());
      },
      connections: () => this.count(),
      keepers: () => new Set([process.pid, ...(this.#keeperPid === null ? [] : [this.#keeperPid])]),
      changed: () => this.#reloader.leaving.review(),
    };
    this.#reloader = new Reloader(config, {
      listeners: this.#listeners,
      services: this.#services,
      surroundings: this.#surroundings,
      inventory: this.#inventory,
      assertRunning: () => {
        if (this.#isStopping) throw stopping();
      },
      ...sources,
      openListener: (listener) => openListener(listener, this.#marks, this.#surroundings),
      createService: (service, listeners) => this.#createService(service, listeners),
      store: this.#store,
      groupId: (group) => native.lookupGroup(group),
    });
  }

  /**
   * Opens the listeners (or goes on with those that a dead daemon's keeper holds) and begins every service. Returns when
   * that is under way. Throws a CodedError when an address cannot be had, and then nothing is left open. `sources` are
   * what a reload reads.
   */
  static async open(config: Config, sources: ReloadSources, log: Logger): Promise<Supervisor> {
    const supervisor = new Supervisor(config, sources, log);
    const kept = await supervisor.#openKeeper();
    const isRecovery = kept.size > 0;
    try {
      await supervisor.#begin(kept);
    } catch (error) {
      // What a dead daemon has left stays with its keeper, for a start that succeeds.
      if (!isRecovery) await supervisor.#closeListeners();
      throw error;
    } finally {
      for (const descriptor of kept.values()) descriptor.close();
    }
    return supervisor;
  }

  async #begin(kept: Map<string, Descriptor>): Promise<void> {
    const isRecovery = kept.size > 0;
    const left = leftBehind(this.#config, this.#inventory.read(), kept, this.#store);
    const listeners = [...this.#config.listeners, ...left.listeners];
    const services = [...this.#config.services, ...left.services];
    const records = new Map(services.map(({ name }) => [name, this.#store.read(name)]));
    if (this.#config.marks !== null) {
      const used = [
        ...[...records.values()].flatMap((record) => record?.generations.flatMap(({ marks }) => marks) ?? []),
        ...marksOf(kept),
      ];
      this.#marks = Marks.open(this.#config.marks.base, used);
      if (this.#marks === null) {
        this.#log.warn("connections are not counted per generation: setting SO_MARK needs CAP_NET_ADMIN");
      }
    }
    await openListeners(
      { listeners, services },
      records,
      kept,
      this.#marks,
      this.#listeners,
      this.#surroundings,
    );
    for (const config of services) {
      const started = records.get(config.name)?.generations.flatMap(({ slots }) => Object.keys(slots)) ?? [];
      const names = new Set([...config.listeners, ...started]);
      const own = new Map([...this.#listeners].filter(([name]) => names.has(name)));
      this.#services.set(config.name, this.#createService(config, own));
    }
    for (const config of left.listeners) this.#reloader.leaving.addListener(config);
    for (const { name } of left.services) this.#reloader.leaving.addService(name);
    if (isRecovery) {
      this.#metrics.recovered("keeper");
      this.#surroundings.say({
        type: "daemon.recovered",
        message: "the daemon goes on from the state of one that ended",
      });
    }
    for (const [name, service] of this.#services)
      await this.#beginService(service, records.get(name) ?? null, isRecovery, kept);
    const unused = [...kept.keys()];
    if (unused.length > 0) await this.#keeper.remove(unused);
    this.#reloader.begin();
  }

  #createService(config: ServiceConfig, listeners: ReadonlyMap<string, Listener>): Service {
    if (config.user === null) {
      this.#log.warn(
        { service: config.name },
        "the service runs as the daemon's own user: its processes could join a listener's group by themselves; give it a user",
      );
    }
    this.#metrics.expect(config.name, config.deploy.strategy);
    return new Service(config, listeners, this.#store, this.#surroundings);
  }

  async #beginService(
    service: Service,
    record: ServiceRecord | null,
    isRecovery: boolean,
    kept: Map<string, Descriptor>,
  ): Promise<void> {
    if (isRecovery && record !== null) {
      await service.recover(record, kept, this.#reloader.leaving.hasService(service.name));
    } else await service.begin(record);
  }

  async #openKeeper(): Promise<Map<string, Descriptor>> {
    if (this.#config.keeper === "off") return new Map();
    const path = join(this.#config.paths.runtime, "keeper.sock");
    const keeper = KeeperProcess.connect(path) ?? this.#startKeeper();
    this.#useKeeper(keeper);
    return keeper.list();
  }

  #useKeeper(keeper: KeeperProcess): void {
    this.#keeper = keeper;
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
        for (const listener of this.#listeners.values()) await listener.keep();
        for (const service of this.#services.values()) await service.keep();
        break;
      } catch (error) {
        this.#log.error({ err: error }, "slots are not held outside the daemon; trying again");
        await pause(KEEPER_RETRY_MS);
      }
    }
    old.kill();
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
    this.#surroundings.history.flush();
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

  // --- what operations.ts asks ---

  health(): Health {
    const services = this.services
      .filter(({ name }) => !this.#reloader.leaving.hasService(name))
      .map(({ name, state, current, generations, config }) => {
        const ready = generations.find(({ number }) => number === current)?.view.ready ?? 0;
        return { name, state, ready, floor: config.deploy.floor };
      });
    return healthOf(services, this.#isStopping);
  }

  status(): Status {
    const { leaving } = this.#reloader;
    const connections = this.count("recent");
    const queues = queuesOfMany(this.#listeners.values());
    for (const service of this.#services.values()) {
      for (const { marks, traffic } of service.generations) traffic.seen(openOf(marks, connections));
      // What it finds is shown by the next look: this one does not wait for it.
      service.reviewHeld().catch((error: unknown) => this.#log.error({ err: error }, "a fault"));
    }
    return {
      version: packageVersion(),
      pid: process.pid,
      startedAt: this.#startedAt.toISOString(),
      upgrades: 0,
      listeners: [...this.#listeners.values()].map((listener) =>
        listenerBody(listener, leaving.hasListener(listener.name), queues),
      ),
      services: [...this.#services.values()].map((service) =>
        serviceBody(service, connections, leaving.hasService(service.name)),
      ),
    };
  }

  async metrics(): Promise<MetricsPage> {
    return { contentType: this.#metrics.contentType, body: await this.#metrics.page() };
  }

  /** Reads the configuration again: for the API, and for whoever gets a signal. Throws what `Reloader.reload` throws. */
  reload(requestedBy: string): Promise<Reload> {
    return this.#reloader.reload(requestedBy);
  }

  /** Open connections by mark. A count that fails (the table changes under it too fast) stops nothing: it is not known. */
  count(how: "count" | "recent" = "count"): ReadonlyMap<number, number> | null {
    try {
      return this.#marks?.[how]() ?? null;
    } catch (error) {
      this.#log.warn({ err: error }, "connections cannot be counted");
      return null;
    }
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

  /** Throws SERVICE_LEAVING for one that nothing can be asked of any more. */
  changeable(name: string): Service {
    if (this.#reloader.leaving.hasService(name)) throw serviceLeaving(name);
    return this.service(name);
  }

  /** Throws SERVICE_UNKNOWN. */
  service(name: string): Service {
    const service = this.#services.get(name);
    if (service === undefined) throw serviceUnknown(name, [...this.#services.keys()]);
    return service;
  }

  get services(): readonly Service[] {
    return [...this.#services.values()];
  }

  get history(): History {
    return this.#surroundings.history;
  }
}
