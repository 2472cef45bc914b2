/**
 * The daemon's whole: its listeners, its services, and what the API may ask of them (Operations). It has no policy of its own.
 */
import { openSync } from "node:fs";
import type { Logger } from "pino";
import { deployUnknown, serviceUnknown } from "../admin-api/errors.ts";
import { EventLog } from "../admin-api/events.ts";
import type { Caller, MetricsPage, Operations } from "../admin-api/operations.ts";
import type { Deploy, DeployList, DeployQuery, DeployRequest, Health, Status } from "../admin-api/schemas.ts";
import { type Deployment, isTerminal, type Wish } from "../deploy/deployment.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import { sortGiven } from "../handoff/fdstore.ts";
import { NO_KEEPER } from "../handoff/keeper.ts";
import type { Listener } from "../handoff/listener.ts";
import type { Given } from "../handoff/service-manager.ts";
import { packageVersion } from "../handoff/version.ts";
import type { Config } from "./config/config.ts";
import { parseDuration } from "./config/values.ts";
import { stepsUnusable } from "./errors.ts";
import { Keeping } from "./keeping.ts";
import { marksOf, openListeners } from "./listeners.ts";
import { Marks } from "./marks.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { Service } from "./service.ts";
import { managerPid } from "./systemd.ts";
import { type ServiceRecord, SnapshotStore } from "./snapshot.ts";
import type { Surroundings } from "./surroundings.ts";
import { deployBody, listenerBody, serviceBody } from "./view.ts";

const PAGE = 20;
const STOP_GRACE_MS = 5_000;

export class Supervisor implements Operations {
  readonly events = new EventLog();
  readonly #log: Logger;
  readonly #startedAt = new Date();
  readonly #metrics: Metrics;
  readonly #surroundings: Surroundings;
  readonly #config: Config;
  readonly #store: SnapshotStore;
  readonly #listeners = new Map<string, Listener>();
  readonly #services = new Map<string, Service>();
  #keeping: Keeping | null = null;
  #marks: Marks | null = null;
  #isStopping = false;

  private constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.#store = new SnapshotStore(config.paths.state);
    this.#metrics = createMetrics(packageVersion(), () => this.status());
    this.#surroundings = {
      runtime: config.paths.runtime,
      state: config.paths.state,
      keeper: () => this.#keeping ?? NO_KEEPER,
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
      keepers: () =>
        new Set([process.pid, managerPid(), ...(this.#keeping?.pid == null ? [] : [this.#keeping.pid])]),
    };
  }

  /**
   * Opens the listeners (or goes on with those that a dead daemon's keeper holds) and begins every service. Returns when
   * that is under way. Throws a CodedError when an address cannot be had, and then nothing is left open. `given` is what
   * the service manager gave; it is the supervisor's from here on.
   */
  static async open(config: Config, log: Logger, given: readonly Given[] = []): Promise<Supervisor> {
    const supervisor = new Supervisor(config, log);
    const { kept: stored, sockets } = sortGiven(given);
    const kept = await supervisor.#openKeeper(stored);
    const isRecovery = kept.size > 0;
    try {
      await supervisor.#begin(kept, sockets);
    } catch (error) {
      // What a dead daemon has left stays with its keeper, for a start that succeeds.
      if (!isRecovery) await supervisor.#closeListeners();
      throw error;
    } finally {
      for (const descriptor of kept.values()) descriptor.close();
      for (const { descriptor } of sockets) descriptor.close();
    }
    return supervisor;
  }

  async #begin(kept: Map<string, Descriptor>, sockets: readonly Given[]): Promise<void> {
    const records = new Map(this.#config.services.map(({ name }) => [name, this.#store.read(name)]));
    const isRecovery = kept.size > 0;
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
      this.#config,
      records,
      { kept, sockets },
      this.#marks,
      this.#listeners,
      this.#surroundings,
    );
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
    if (isRecovery) {
      this.#metrics.recovered("snapshot");
      this.#surroundings.say({
        type: "daemon.recovered",
        message: "the daemon goes on from the state of one that ended",
      });
    }
    for (const [name, service] of this.#services)
      await this.#beginService(service, records.get(name) ?? null, isRecovery, kept);
    const unused = [...kept.keys()];
    if (unused.length > 0) await this.#surroundings.keeper().remove(unused);
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

  async #openKeeper(stored: Map<string, Descriptor>): Promise<Map<string, Descriptor>> {
    const { keeping, kept } = await Keeping.open(
      {
        keeper: this.#config.keeper,
        runtime: this.#config.paths.runtime,
        devNull: this.#surroundings.devNull,
        environment: process.env,
        log: this.#log,
        say: this.#surroundings.say,
        keepAll: async () => {
          for (const listener of this.#listeners.values()) await listener.keep();
          for (const service of this.#services.values()) await service.keep();
        },
      },
      stored,
    );
    this.#keeping = keeping;
    this.#log.info({ keeper: keeping.kind }, "sockets are held outside the daemon");
    return kept;
  }

  /**
   * Drains and ends every service, closes every listener, lets the keeper go. With systemd's fdstore the listeners stay: what waits
   * in them is the next daemon's, or ends with the unit, as systemd sees fit (FileDescriptorStorePreserve=).
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all([...this.#services.values()].map((service) => service.stop()));
    if (this.#keeping?.kind === "systemd") this.#keeping.close();
    else await this.#closeListeners();
  }

  /** Stops acting, and ends nothing: another daemon will go on, as after a crash. false: nothing would be left to go on with. */
  leave(): boolean {
    if (this.#keeping === null || this.#keeping.kind === "none") return false;
    this.#isStopping = true;
    this.#keeping.close();
    return true;
  }

  /** The longest that `stop` may take by the configuration, in milliseconds. */
  get longestStopMs(): number {
    const drains = this.#config.services.map(({ drain }) => drain.settleMs + drain.timeoutMs);
    return Math.max(0, ...drains) + STOP_GRACE_MS;
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
    await this.#surroundings.keeper().release();
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
      upgrades: 0,
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
