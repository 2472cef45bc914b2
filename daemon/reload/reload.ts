/**
 * Reads the configuration again and makes what runs follow it. All or nothing: a file that is wrong, a change that cannot be made and
 * a listener that cannot be opened change nothing.
 *
 *   read ─▶ plan ─▶ open what is new ─▶ write down what is there ─▶ (from here on nothing fails) commit
 *
 * A changed service runs on as it was started; its next deploy brings the change. See leaving.ts for what is removed.
 */
import type { Reload } from "../../admin-api/schemas.ts";
import type { Listener } from "../../handoff/listener.ts";
import { UnixListener } from "../../handoff/unix-listener.ts";
import type { Config, ListenerConfig, ServiceConfig } from "../config/config.ts";
import { reloadInProgress, reloadRefused, reloadWithoutFile, upgradeInProgress } from "../errors.ts";
import type { PreparedDoors } from "../external/doors.ts";
import { reach } from "../fault.ts";
import type { InventoryFile } from "./inventory.ts";
import { type Estate, Leaving, mayComeBackTo, uses } from "./leaving.ts";
import { planReload, type ReloadPlan } from "./reload-plan.ts";
import type { Service } from "../service/service.ts";
import type { ServiceRecord } from "../state/snapshot.ts";
import { pendingOf } from "../api/view.ts";

/** What is read again. */
export interface ReloadSources {
  /** Reads and checks the file. Throws CONFIG_*. */
  readonly load: () => Config;
  /** Reads again who may use the API, from the files that the daemon was started with. Throws TOKENS_* and TLS_UNUSABLE. What it returns makes it hold. */
  readonly readAccess: () => () => void;
}

export interface ReloadEstate extends Estate, ReloadSources {
  readonly inventory: InventoryFile;
  /** Throws DAEMON_STOPPING. */
  readonly assertRunning: () => void;
  readonly openListener: (config: ListenerConfig) => Promise<Listener>;
  readonly createService: (config: ServiceConfig, listeners: ReadonlyMap<string, Listener>) => Service;
  readonly groupId: (group: string) => number | null;
}

/** What a reload needs to have at hand before it may change anything. */
interface Prepared {
  readonly opened: readonly Listener[];
  readonly records: ReadonlyMap<string, ServiceRecord | null>;
  readonly doors: PreparedDoors;
}

export class Reloader {
  readonly leaving: Leaving;
  readonly #estate: ReloadEstate;
  /** What is in force: the sections of the daemon itself are those that it was started with. */
  #config: Config;
  /** Settles when none is under way. */
  #last: Promise<unknown> = Promise.resolve();
  #isReloading = false;
  #isPaused = false;

  constructor(config: Config, estate: ReloadEstate) {
    this.#config = config;
    this.#estate = estate;
    this.leaving = new Leaving(estate, () => this.#noteGone());
  }

  /**
   * Throws CONFIG_* as `handoffd check` says it, RELOAD_REFUSED with every change that cannot be made while the daemon runs,
   * LISTENER_* for a listener that cannot be opened, TOKENS_* and TLS_UNUSABLE for the files of the API, RELOAD_IN_PROGRESS,
   * RELOAD_WITHOUT_FILE, UPGRADE_IN_PROGRESS. Nothing has changed then.
   */
  async reload(requestedBy: string): Promise<Reload> {
    if (this.#isPaused) throw upgradeInProgress();
    if (this.#isReloading) throw reloadInProgress();
    const reloading = this.#reload(requestedBy);
    this.#last = reloading.catch(() => undefined); // Whoever has asked gets it.
    return reloading;
  }

  /** What is in force, whatever the file says by now. */
  get config(): Config {
    return this.#config;
  }

  /** Refuses until `unpause`. Returns when none is under way. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#last;
  }

  unpause(): void {
    this.#isPaused = false;
  }

  async #reload(requestedBy: string): Promise<Reload> {
    this.#isReloading = true;
    try {
      this.#estate.assertRunning();
      if (this.#config.file === null) throw reloadWithoutFile();
      const wanted = this.#estate.load();
      const plan = this.#plan(wanted);
      if (plan.problems.length > 0) throw reloadRefused(this.#config.file, plan.problems);
      const admit = this.#estate.readAccess();
      const prepared = await this.#prepare(plan, wanted.services);
      this.#commit(plan, wanted, prepared);
      reach("reload.committed");
      admit();
      const answer = this.#answer(plan, wanted);
      this.#say(answer, requestedBy);
      return answer;
    } finally {
      this.#isReloading = false;
    }
  }

  /** At the daemon's start, when everything is up: what of the inventory is not in the file leaves from here on. */
  begin(): void {
    this.#noteGone();
    this.leaving.begin();
    for (const name of this.leaving.services) {
      const service = this.#estate.services.get(name);
      if (service !== undefined) this.#end(service);
    }
  }

  #plan(wanted: Config): ReloadPlan {
    const { leaving } = this;
    const names = [...this.#estate.listeners.keys()];
    const services = [...this.#estate.services.values()];
    return planReload(
      {
        config: this.#config,
        users: new Map(
          names.map((name) => [name, services.filter((each) => uses(each, name)).map((each) => each.name)]),
        ),
        leaving: {
          services: leaving.services,
          listeners: leaving.listeners.map((config) => ({ config, isShut: leaving.isShut(config.name) })),
        },
      },
      wanted,
    );
  }

  /** All that can fail. Leaves nothing behind when it does. */
  async #prepare(plan: ReloadPlan, services: readonly ServiceConfig[]): Promise<Prepared> {
    const opened: Listener[] = [];
    const undo: (() => void)[] = [];
    try {
      const records = new Map(plan.services.added.map(({ name }) => [name, this.#estate.store.read(name)]));
      for (const config of plan.listeners.added) opened.push(await this.#estate.openListener(config));
      for (const { config } of plan.listeners.changed) undo.push(this.#change(config));
      reach("reload.opened");
      // The daemon may have been told to end meanwhile.
      this.#estate.assertRunning();
      const doors = this.#estate.surroundings.doors.prepare(services);
      undo.push(doors.undo);
      this.#writeDown(plan.listeners.added, plan.services.added);
      reach("reload.written");
      return { opened, records, doors };
    } catch (error) {
      for (const back of undo.reverse()) back();
      for (const listener of opened) await listener.close();
      throw error;
    }
  }

  /** Returns what puts it back. */
  #change(wanted: ListenerConfig): () => void {
    const listener = this.#estate.listeners.get(wanted.name);
    const before = this.#present.find(({ name }) => name === wanted.name);
    if (listener === undefined || before === undefined) throw new Error(`no listener ${wanted.name}`);
    const apply = ({ backlog, mode, group }: ListenerConfig): void => {
      if (backlog !== listener.backlog) listener.setBacklog(backlog);
      if (!(listener instanceof UnixListener)) return;
      listener.setAccess(mode, group === null ? null : this.#estate.groupId(group));
    };
    const isAccess = before.mode !== wanted.mode || before.group !== wanted.group;
    if (isAccess || before.backlog !== wanted.backlog) apply(wanted);
    return () => apply(before);
  }

  #commit(
    { listeners, services, logLevel }: ReloadPlan,
    wanted: Config,
    { opened, records, doors }: Prepared,
  ): void {
    const { estate, leaving } = { estate: this.#estate, leaving: this.leaving };
    const removed = services.removed.flatMap(({ name }) => estate.services.get(name) ?? []);
    for (const listener of opened) estate.listeners.set(listener.name, listener);
    for (const { name } of listeners.kept) leaving.keepListener(name);
    for (const config of listeners.removed) leaving.addListener(config);
    for (const service of removed) leaving.addService(service.name);
    doors.commit();
    if (logLevel !== null) estate.surroundings.log.level = logLevel;
    for (const config of wanted.services) {
      estate.services.get(config.name)?.reconfigure(config, this.#listenersFor(config));
    }
    for (const config of services.added) {
      const service = estate.createService(config, this.#listenersFor(config));
      estate.services.set(config.name, service);
      this.#watch(service.begin(records.get(config.name) ?? null), config.name);
    }
    const { admin, metrics, paths, marks, keeper } = this.#config;
    this.#config = { ...wanted, admin, metrics, paths, marks, keeper };
    leaving.review();
    for (const service of removed) this.#end(service);
  }

  #end(service: Service): void {
    this.#watch(this.leaving.endService(service), service.name);
  }

  #watch(work: Promise<void>, service: string): void {
    work.catch((error: unknown) => this.#estate.surroundings.log.error({ err: error, service }, "a fault"));
  }

  /** The service's own, and those that its generations have from an earlier configuration. */
  #listenersFor({ name: service, listeners: own }: ServiceConfig): ReadonlyMap<string, Listener> {
    const user = this.#estate.services.get(service);
    const isKnown = (name: string): boolean =>
      user !== undefined && (uses(user, name) || mayComeBackTo(user, name));
    return new Map([...this.#estate.listeners].filter(([name]) => own.includes(name) || isKnown(name)));
  }

  get #present(): readonly ListenerConfig[] {
    return [...this.#config.listeners, ...this.leaving.listeners];
  }

  /** What is written there already is more than there is, which does no harm. */
  #noteGone(): void {
    try {
      this.#writeDown();
    } catch (error) {
      this.#estate.surroundings.log.error({ err: error }, "the inventory cannot be written");
    }
  }

  /** What is there, and what is about to be. Throws DIRECTORY_UNUSABLE. */
  #writeDown(listeners: readonly ListenerConfig[] = [], services: readonly ServiceConfig[] = []): void {
    this.#estate.inventory.write({
      listeners: [...this.#present, ...listeners],
      services: [...this.#estate.services.keys(), ...services.map(({ name }) => name)],
    });
  }

  #answer({ listeners, services, logLevel, needsRestart }: ReloadPlan, { warnings }: Config): Reload {
    const names = (all: readonly { readonly name: string }[]): string[] => all.map(({ name }) => name);
    const keys = (
      all: readonly { readonly config: { readonly name: string }; readonly keys: readonly string[] }[],
    ) => all.map((each) => ({ name: each.config.name, keys: [...each.keys] }));
    return {
      added: { listeners: names([...listeners.added, ...listeners.kept]), services: names(services.added) },
      removed: { listeners: names(listeners.removed), services: names(services.removed) },
      changed: {
        listeners: keys(listeners.changed),
        services: keys(services.changed),
        daemon: logLevel === null ? [] : ["log.level"],
      },
      pending: [...this.#estate.services.values()].flatMap((service) => {
        const pending = pendingOf(service);
        return pending.length === 0 ? [] : [{ name: service.name, keys: pending }];
      }),
      needsRestart: [...needsRestart],
      warnings: [...warnings],
    };
  }

  #say({ added, removed, changed, pending, needsRestart, warnings }: Reload, requestedBy: string): void {
    const { say, log } = this.#estate.surroundings;
    const message = `${requestedBy} had the configuration read again`;
    for (const warning of warnings) log.warn({ detail: warning }, "configuration");
    log.info({ added, removed, changed, pending, needsRestart, requestedBy }, "configuration reloaded");
    say({ type: "daemon.reloaded", message });
  }
}
