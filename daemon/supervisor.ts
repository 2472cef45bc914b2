/**
 * The daemon's whole: its listeners, its services, and what the API may ask of them (Operations). It has no policy of its own.
 */
import { openSync } from "node:fs";
import type { Logger } from "pino";
import { serviceUnknown } from "../admin-api/errors.ts";
import { EventLog } from "../admin-api/events.ts";
import type { MetricsPage } from "../admin-api/operations.ts";
import type { Health, Reload, Status, Upgrade as UpgradeBody } from "../admin-api/schemas.ts";
import { isTerminal } from "../deploy/deployment.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import { type Keeper, NO_KEEPER } from "../handoff/keeper.ts";
import type { Listener } from "../handoff/listener.ts";
import { native } from "../handoff/native.ts";
import { queuesOfMany } from "../handoff/unix-listener.ts";
import type { Given } from "../handoff/service-manager.ts";
import { packageVersion } from "../handoff/version.ts";
import type { Beginning } from "./upgrade/beginning.ts";
import type { Config, ServiceConfig } from "./config/config.ts";
import { closeListeners } from "./sockets/closing.ts";
import { longestStopMs } from "./generation/ending.ts";
import { Doors } from "./external/doors.ts";
import { serviceLeaving, stopping } from "./errors.ts";
import { keeperWithFaultPoints, reach } from "./fault.ts";
import { healthOf } from "./health.ts";
import { lookOnce } from "./sockets/holders.ts";
import { History } from "./state/history.ts";
import { InventoryFile } from "./reload/inventory.ts";
import { Keeping } from "./sockets/keeping.ts";
import { marksOf, openListener, openListeners } from "./sockets/listeners.ts";
import { type Marks, openMarks, openOf } from "./sockets/marks.ts";
import { Moves } from "./generation/moves.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { heldListeners, leftBehind } from "./reload/left-behind.ts";
import { sceneOf } from "./metrics/gauges.ts";
import { lossEvents, recoveredEvent, sourceOf } from "./recovery.ts";
import { Reloader } from "./reload/reload.ts";
import { moved, type RescuedSlot, rescueSlots } from "./sockets/rescue.ts";
import { Service } from "./service/service.ts";
import { managerPid } from "./systemd.ts";
import { SnapshotStore } from "./state/snapshot.ts";
import { endStrays } from "./strays.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Parts } from "./upgrade/upgrade-body.ts";
import type { Inheritance } from "./upgrade/upgrade-state.ts";
import { listenerBody, serviceBody } from "./api/view.ts";

export class Supervisor {
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
  readonly #inventory: InventoryFile;
  readonly #reloader: Reloader;
  #keeping: Keeping | null = null;
  #keeper: Keeper = NO_KEEPER;
  #marks: Marks | null = null;
  #isStopping = false;
  /** Something lives already that another daemon has left. */
  #isRecovery = true;

  private constructor(config: Config, log: Logger, { sources, inherited, upgrade }: Beginning) {
    this.#config = config;
    this.#log = log;
    this.events = new EventLog({ after: inherited?.state.events });
    this.#startedAt = new Date(inherited?.state.startedAt ?? Date.now());
    this.#upgrades = inherited === null ? 0 : inherited.state.upgrades + 1;
    this.#beginUpgrade = upgrade;
    const onFailure = (service: string): void => this.#metrics.stateNotWritten(service);
    this.#store = new SnapshotStore(config.paths.state, { onFailure });
    this.#inventory = new InventoryFile(config.paths.state);
    this.#metrics = createMetrics(packageVersion(), () => sceneOf(this.status(), this.services));
    this.#surroundings = {
      runtime: config.paths.runtime,
      state: config.paths.state,
      keeper: () => this.#keeper,
      doors: new Doors(config.paths.runtime, (...event) => this.#surroundings.say(...event)),
      devNull: openSync("/dev/null", "r+"),
      log,
      tally: this.#metrics,
      moves: new Moves(
        this.#services,
        () => this.#marks,
        () => this.#surroundings,
      ),
      history: new History(config.paths.state, log, () => this.#metrics.historyFailed()),
      say: ({ message, type, ...rest }, level = "info") => {
        const deploy = rest.deploy ?? this.#deployAbout(rest.service, rest.generation);
        const about = deploy === undefined ? rest : { ...rest, deploy };
        log[level]({ ...about, detail: message }, type);
        this.events.append({ type, message, ...about });
      },
      connectionsOf: (marks) => (marks.length === 0 ? null : openOf(marks, this.count())),
      connections: () => this.count(),
      changed: () => {
        this.#reloader.leaving.review();
        this.#surroundings.moves.review();
      },
      keepers: () =>
        new Set([process.pid, managerPid(), ...(this.#keeping?.pid == null ? [] : [this.#keeping.pid])]),
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
   * Opens the listeners (or goes on with those that another daemon has left) and begins every service. Returns when
   * that is under way. Throws a CodedError when an address cannot be had, and then nothing is left open.
   */
  static async open(config: Config, log: Logger, beginning: Beginning): Promise<Supervisor> {
    const supervisor = new Supervisor(config, log, beginning);
    const { inherited } = beginning;
    const { kept: stored, sockets } = beginning.given;
    const kept = await supervisor.#openKeeper(inherited?.takeKept() ?? stored, beginning);
    try {
      reach("recovery.listed");
      supervisor.#isRecovery = kept.size > 0;
      await supervisor.#begin({ kept, sockets }, stored.size > 0, inherited);
    } catch (error) {
      // What a dead daemon has left stays with its keeper, for a start that succeeds.
      if (!supervisor.#isRecovery) await supervisor.#closeListeners();
      throw error;
    } finally {
      for (const descriptor of kept.values()) descriptor.close();
      for (const { descriptor } of sockets) descriptor.close();
    }
    return supervisor;
  }

  async #begin(
    found: { readonly kept: Map<string, Descriptor>; readonly sockets: readonly Given[] },
    hasStored: boolean,
    inherited: Inheritance | null,
  ): Promise<void> {
    const { kept } = found;
    const inventory = this.#inventory.read();
    const names = new Set([...this.#config.services.map(({ name }) => name), ...inventory.services]);
    const all = new Map([...names].map((name) => [name, this.#store.read(name)]));
    const source = sourceOf(kept, hasStored, inherited, all);
    this.#isRecovery = source !== null;
    const rescued = source === "pidfd" ? rescueSlots(all.values()) : new Map<string, RescuedSlot[]>();
    if (inherited !== null) this.#metrics.restore(inherited.state.counters);
    const held = heldListeners(kept, rescued);
    const left = leftBehind(this.#config, inventory, held, this.#isRecovery, this.#store);
    const listeners = [...this.#config.listeners, ...left.listeners];
    const services = [...this.#config.services, ...left.services];
    const read = new Map(services.map(({ name }) => [name, all.get(name) ?? null]));
    reach("recovery.read");
    const given = [...found.sockets, ...[...rescued.values()].flat()];
    const holders = lookOnce(kept, given, this.#surroundings.keepers);
    this.#marks = openMarks(this.#config, read, marksOf(kept), this.#log);
    const places = await openListeners(
      { listeners, services },
      read,
      { ...found, rescued, holders },
      this.#marks,
      this.#listeners,
      this.#surroundings,
    );
    const records = source === "pidfd" ? moved(read, places) : read;
    reach("recovery.listeners");
    for (const config of services) {
      const started = records.get(config.name)?.generations.flatMap(({ slots }) => Object.keys(slots)) ?? [];
      const names = new Set([...config.listeners, ...started]);
      const own = new Map([...this.#listeners].filter(([name]) => names.has(name)));
      this.#services.set(config.name, this.#createService(config, own));
    }
    this.#surroundings.doors.prepare(services, kept).commit();
    for (const config of left.listeners) this.#reloader.leaving.addListener(config);
    for (const { name } of left.services) this.#reloader.leaving.addService(name);
    if (source !== null) {
      this.#metrics.recovered(source);
      if (source === "upgrade") this.#metrics.upgraded("succeeded");
      this.#surroundings.say(recoveredEvent(source, inherited));
    }
    for (const event of lossEvents(source, read, records)) this.#surroundings.say(event, "warn");
    for (const [name, service] of this.#services) {
      const record = source === null ? null : (records.get(name) ?? null);
      const isLeaving = this.#reloader.leaving.hasService(name);
      if (record !== null) await service.recover(record, { kept, holders, isLeaving });
      else await service.begin(records.get(name) ?? null, holders);
    }
    if (source === "pidfd") await this.#keepAll();
    const unused = [...kept.keys()];
    if (unused.length > 0) await this.#keeper.remove(unused);
    reach("recovery.done");
    if (inherited !== null) endStrays(this.services, this.#keeping?.pid ?? null);
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

  async #openKeeper(
    found: Map<string, Descriptor>,
    { inherited, own }: Pick<Beginning, "inherited" | "own">,
  ): Promise<Map<string, Descriptor>> {
    const { keeping, kept } = await Keeping.open(
      {
        keeper: this.#config.keeper,
        runtime: this.#config.paths.runtime,
        devNull: this.#surroundings.devNull,
        environment: process.env,
        log: this.#log,
        say: this.#surroundings.say,
        keepAll: () => this.#keepAll(),
        own,
      },
      found,
      inherited?.state ?? null,
    );
    this.#keeping = keeping;
    this.#keeper = keeperWithFaultPoints(keeping);
    this.#log.info({ keeper: keeping.kind }, "sockets are held outside the daemon");
    return kept;
  }

  /** Gives everything to the keeper, a new one that holds nothing yet. */
  async #keepAll(): Promise<void> {
    for (const listener of this.#listeners.values()) await listener.keep();
    for (const { holders } of this.services) for (const holder of holders) await holder.keep();
  }

  /**
   * Drains and ends every service, closes every listener, lets the keeper go. With systemd's fdstore the listeners stay: what waits
   * in them is the next daemon's, or ends with the unit, as systemd sees fit (FileDescriptorStorePreserve=).
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all([...this.#services.values()].map((service) => service.stop()));
    this.#surroundings.doors.close();
    if (this.#keeping?.kind === "systemd") this.#keeping.close();
    else await this.#closeListeners();
    this.#surroundings.history.flush();
  }

  /** Stops acting, and ends nothing: another daemon will go on, as after a crash. false: nothing would be left to go on with. */
  leave(): boolean {
    if (this.#keeping === null || this.#keeping.kind === "none") return false;
    this.#isStopping = true;
    this.#keeping.close();
    this.#surroundings.history.flush();
    return true;
  }

  /** The longest that `stop` may take, in milliseconds: what runs drains as it was started, whatever the configuration says by now. */
  get longestStopMs(): number {
    return longestStopMs(this.services.flatMap((service) => [service, ...service.generations]));
  }

  /** Ends every process at once: the second SIGTERM. */
  kill(): void {
    for (const service of this.#services.values()) service.kill();
  }

  async #closeListeners(): Promise<void> {
    this.#isStopping = true;
    await closeListeners(this.#listeners.values(), this.#log);
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
    for (const service of this.services) {
      for (const { marks, traffic } of service.generations) traffic.seen(openOf(marks, connections));
      // What it finds is shown by the next look: this one does not wait for it.
      service.reviewHeld().catch((error: unknown) => this.#log.error({ err: error }, "a fault"));
    }
    return {
      version: packageVersion(),
      pid: process.pid,
      startedAt: this.#startedAt.toISOString(),
      upgrades: this.#upgrades,
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

  /** Replaces the daemon by the program as it is installed now. Throws DAEMON_STOPPING, UPGRADE_*. */
  upgrade(requestedBy: string): Promise<UpgradeBody> {
    if (this.#isStopping) throw stopping();
    return this.#beginUpgrade(requestedBy);
  }

  /** For another image that goes on: everything that the daemon consists of. */
  get parts(): Parts {
    return {
      config: this.#reloader.config,
      services: this.services,
      listeners: [...this.#listeners.values()],
      keeping: this.#keeping,
      reloading: this.#reloader,
      doors: this.#surroundings.doors,
      moves: this.#surroundings.moves,
      metrics: this.#metrics,
      startedAt: this.#startedAt.getTime(),
      upgrades: this.#upgrades,
      say: this.#surroundings.say,
      flush: () => this.history.flush(),
    };
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
