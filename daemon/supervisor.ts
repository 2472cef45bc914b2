/**
 * The daemon's whole: its listeners, its services, and what the API may ask of them (Operations). It has no policy of its own.
 */
import { openSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { deployUnknown, serviceUnknown } from "../admin-api/errors.ts";
import { EventLog } from "../admin-api/events.ts";
import type { Caller, HoldOptions, MetricsPage, Operations } from "../admin-api/operations.ts";
import type {
  Deploy,
  DeployList,
  DeployQuery,
  DeployRequest,
  Generation as GenerationBody,
  Health,
  Service as ServiceBody,
  Status,
} from "../admin-api/schemas.ts";
import { type Deployment, isTerminal } from "../deploy/deployment.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import { type Keeper, KeeperProcess, NO_KEEPER } from "../handoff/keeper.ts";
import type { Listener } from "../handoff/listener.ts";
import { packageVersion } from "../handoff/version.ts";
import type { Config } from "./config/config.ts";
import { parseSteps } from "./config/steps.ts";
import { parseDuration } from "./config/values.ts";
import { findDeploy, pageOfDeploys } from "./deploy-pages.ts";
import { endByHand } from "./end-by-hand.ts";
import { pause } from "./ending.ts";
import { healthOf } from "./health.ts";
import { History } from "./history.ts";
import { marksOf, openListeners } from "./listeners.ts";
import { Marks, openOf } from "./marks.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { Service } from "./service.ts";
import { type ServiceRecord, SnapshotStore } from "./snapshot.ts";
import type { Surroundings } from "./surroundings.ts";
import { deployBody, generationBody, listenerBody, serviceBody } from "./view.ts";

const PAGE = 20;
const KEEPER_RETRY_MS = 1_000;

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
  #keeper: Keeper = NO_KEEPER;
  #keeperPid: number | null = null;
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
        return marks.length === 0 ? null : openOf(marks, this.#count());
      },
      connections: () => this.#count(),
      keepers: () => new Set([process.pid, ...(this.#keeperPid === null ? [] : [this.#keeperPid])]),
    };
  }

  /**
   * Opens the listeners (or goes on with those that a dead daemon's keeper holds) and begins every service. Returns when
   * that is under way. Throws a CodedError when an address cannot be had, and then nothing is left open.
   */
  static async open(config: Config, log: Logger): Promise<Supervisor> {
    const supervisor = new Supervisor(config, log);
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
    await openListeners(this.#config, records, kept, this.#marks, this.#listeners, this.#surroundings);
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
    if (unused.length > 0) await this.#keeper.remove(unused);
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

  // --- Operations ---

  health(): Health {
    const services = [...this.#services.values()].map(({ name, state, current, generations, config }) => {
      const ready = generations.find(({ number }) => number === current)?.view.ready ?? 0;
      return { name, state, ready, floor: config.deploy.floor };
    });
    return healthOf(services, this.#isStopping);
  }

  status(): Status {
    const connections = this.#count("recent");
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
      listeners: [...this.#listeners.values()].map((listener) => listenerBody(listener)),
      services: [...this.#services.values()].map((service) => serviceBody(service, connections)),
    };
  }

  async metrics(): Promise<MetricsPage> {
    return { contentType: this.#metrics.contentType, body: await this.#metrics.page() };
  }

  deploy(name: string, request: DeployRequest, caller: Caller): Deploy {
    const service = this.#service(name);
    const hasPins = service.config.deploy.pin.length > 0;
    return deployBody(
      service.deploy(
        {
          version: request.version,
          strategy: request.strategy,
          bakeMs: request.bake === undefined ? undefined : parseDuration(request.bake),
          steps: request.steps === undefined ? undefined : parseSteps(request.steps, hasPins),
        },
        caller.name,
      ),
    );
  }

  rollback(name: string, caller: Caller): Deploy {
    const deployment = this.#service(name).rollback(caller.name);
    // Of one that was under way; another one begins with who asked for it.
    if (deployment.wish === "rollback") {
      this.#surroundings.history.append({
        type: "rollback",
        id: deployment.id,
        service: name,
        by: caller.name,
      });
    }
    return deployBody(deployment);
  }

  restart(name: string, caller: Caller): Deploy {
    return deployBody(this.#service(name).restart(caller.name));
  }

  hold(name: string, { idles }: HoldOptions, caller: Caller): ServiceBody {
    const service = this.#service(name);
    service.hold({ requestedBy: caller.name, idles });
    return serviceBody(service, this.#count());
  }

  resume(name: string, caller: Caller): Deploy {
    return deployBody(this.#service(name).resume(caller.name));
  }

  scale(name: string, instances: number, caller: Caller): ServiceBody {
    const service = this.#service(name);
    service.scale(instances, caller.name);
    return serviceBody(service, this.#count());
  }

  endGeneration(name: string, number: number, caller: Caller): GenerationBody {
    const generation = endByHand(this.#service(name), number, caller.name, Date.now());
    return generationBody(generation, this.#count());
  }

  async listDeploys({ service, limit = PAGE, before }: DeployQuery): Promise<DeployList> {
    const query = { service: service ?? null, limit, before: before ?? null };
    const page = await pageOfDeploys(this.#deploys, query);
    // One that has left the configuration has a history all the same.
    if (service !== undefined && page.deploys.length === 0) this.#service(service);
    return page;
  }

  getDeploy(id: string): Promise<Deploy> {
    return findDeploy(this.#deploys, id);
  }

  get #deploys(): Parameters<typeof findDeploy>[0] {
    const remembered = [...this.#services.values()].flatMap(({ deploys }) => deploys);
    return {
      remembered: remembered.map((deployment) => deployBody(deployment)),
      history: () => this.#surroundings.history.newestFirst(),
    };
  }

  promote(id: string, caller: Caller): Deploy {
    return this.#ask(id, "promote", caller);
  }

  abort(id: string, caller: Caller): Deploy {
    return this.#ask(id, "abort", caller);
  }

  pause(id: string, caller: Caller): Deploy {
    return this.#ask(id, "pause", caller);
  }

  continueDeploy(id: string, caller: Caller): Deploy {
    return this.#ask(id, "continue", caller);
  }

  #ask(id: string, wish: "promote" | "abort" | "pause" | "continue", caller: Caller): Deploy {
    const deploy = deployBody(this.#find(id).service.ask(id, wish));
    this.#surroundings.history.append({ type: wish, id, service: deploy.service, by: caller.name });
    return deploy;
  }

  /** Open connections by mark. A count that fails (the table changes under it too fast) stops nothing: it is not known. */
  #count(how: "count" | "recent" = "count"): ReadonlyMap<number, number> | null {
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
