/**
 * The instances of one generation: they are started together, and one that ends unexpectedly comes back on the same slot, whose
 * queue has waited for it. Before the generation was ready none comes back: a candidate that cannot start is the
 * deploy's to judge.
 */
import type { CodedError } from "../handoff/coded-error.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import type { ServiceConfig } from "./config/config.ts";
import { endGroup } from "./ending.ts";
import { instanceExited } from "./errors.ts";
import { Instance, type InstanceEvent, type InstancePlan, type InstanceRecord } from "./instance.ts";
import type { Surroundings } from "./surroundings.ts";

export interface InstancesHooks {
  /** READY=1 of an instance. */
  readonly onReadySaid: (instance: Instance) => void;
  /** A process that ran has ended unexpectedly. */
  readonly onLost: (failure: CodedError) => void;
  /** A process could not be started. */
  readonly onNotStarted: (error: unknown) => void;
  /** An instance is being started again; the work is the generation's to keep track of. */
  readonly onComeBack: (start: () => Promise<void>) => void;
  readonly onChange: () => void;
  /** Whether the generation was ready once: then what ends comes back. */
  readonly comesBack: () => boolean;
}

export class Instances {
  readonly all: readonly Instance[];
  /** As they were when this object was made: for `resume`. */
  readonly #known: readonly InstanceRecord[];
  readonly #plan: InstancePlan;
  readonly #config: ServiceConfig;
  readonly #where: { readonly service: string; readonly generation: number };
  readonly #hooks: InstancesHooks;
  readonly #surroundings: Surroundings;
  readonly #timers = new Set<NodeJS.Timeout>();
  #mayComeBack = true;
  /** Consecutive early exits, for the back-off. */
  #strikes = 0;

  constructor(
    plan: InstancePlan,
    records: readonly InstanceRecord[],
    config: ServiceConfig,
    number: number,
    hooks: InstancesHooks,
    surroundings: Surroundings,
  ) {
    this.#known = records;
    this.#plan = plan;
    this.#config = config;
    this.#where = { service: config.name, generation: number };
    this.#hooks = hooks;
    this.#surroundings = surroundings;
    this.all = records.map((record) => this.#place(record));
  }

  get records(): InstanceRecord[] {
    return this.all.map(({ record }) => record);
  }

  get ready(): number {
    return this.all.filter(({ isReady }) => isReady).length;
  }

  /** The pids of the living processes. */
  get pids(): number[] {
    return this.all.map(({ pid }) => pid).filter((pid) => pid !== null);
  }

  /** Returns when every launcher has its descriptors, or has failed. */
  async start(): Promise<void> {
    await Promise.all(this.all.map((instance) => this.#start(instance)));
  }

  /** Goes on with the processes that run. What is used is taken out of `kept`. */
  resume(kept: Map<string, Descriptor>, isDraining: boolean): void {
    for (const [index, instance] of this.all.entries()) {
      const record = this.#known[index] ?? instance.record;
      if (instance.adopt(record, kept) || isDraining) continue;
      const who = `instance ${instance.id} of ${this.#plan.generation}`;
      if (instance.fire("exit")) this.#lost(instance, instanceExited(who, "ended", "while no daemon ran"));
      else if (instance.state === "failed") this.#comeBack(instance);
    }
  }

  /** Those that were starting are ready. Returns whether there were any. */
  markReady(instances: readonly Instance[], isServing: boolean): boolean {
    const became = instances.filter((instance) => instance.process !== null && instance.fire("ready"));
    for (const instance of became) {
      if (isServing) instance.fire("admit");
      this.#say(instance, "instance.ready", `instance ${instance.id} of ${this.#plan.generation} is ready`);
    }
    return became.length > 0;
  }

  fire(event: InstanceEvent): void {
    for (const instance of this.all) instance.fire(event);
  }

  /** Nothing comes back any more. */
  stopComingBack(): void {
    this.#mayComeBack = false;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  /** What has ended meanwhile comes back. */
  goOnComingBack(): void {
    this.#mayComeBack = true;
    if (!this.#hooks.comesBack()) return;
    for (const instance of this.all) if (instance.state === "failed") this.#comeBack(instance);
  }

  async #start(instance: Instance): Promise<void> {
    try {
      await instance.start();
    } catch (error) {
      this.#notStarted(instance, error);
      return;
    }
    const pid = instance.pid === null ? "which has ended already" : `pid ${instance.pid}`;
    this.#say(
      instance,
      "instance.started",
      `instance ${instance.id} of ${this.#plan.generation} was started (${pid})`,
    );
    this.#hooks.onChange();
  }

  #place(record: InstanceRecord): Instance {
    const instance: Instance = new Instance(
      this.#plan,
      record,
      {
        onNotify: (message) => {
          if (message.get("READY") === "1") this.#hooks.onReadySaid(instance);
        },
        onSpawned: () => this.#hooks.onChange(),
        onExit: (failure, expected) => this.#exited(instance, failure, expected),
      },
      this.#surroundings,
    );
    return instance;
  }

  #exited(instance: Instance, failure: CodedError, expected: boolean): void {
    this.#surroundings.tally.exited(this.#config.name, expected ? "expected" : "unexpected");
    this.#say(instance, "instance.exited", failure.message, failure.code, expected ? "info" : "error");
    if (expected) return; // retirement.ts has the process, and its group with it.
    this.#cleanUp(instance);
    // The launcher's own failure is no exit of the application: nothing of it ever ran.
    if (failure.code === "LAUNCH_FAILED") this.#notStarted(instance, failure);
    else this.#lost(instance, failure);
  }

  #lost(instance: Instance, failure: CodedError): void {
    if (this.#hooks.comesBack()) this.#comeBack(instance);
    this.#hooks.onLost(failure);
  }

  #notStarted(instance: Instance, error: unknown): void {
    if (this.#hooks.comesBack()) this.#comeBack(instance);
    this.#hooks.onNotStarted(error);
  }

  /** What the instance left in its process group gets the time of a drain; it may be serving users still. */
  #cleanUp(instance: Instance): void {
    const ended = instance.takeEnded();
    if (ended === null) return;
    const { signal, timeoutMs } = this.#config.drain;
    ended.killGroup(signal);
    void endGroup(ended, null, Date.now() + timeoutMs, () => undefined);
  }

  /** At once after a good life, later and later after short ones. */
  #comeBack(instance: Instance): void {
    if (!this.#mayComeBack) return;
    const { backoffMinMs, backoffMaxMs } = this.#config.restart;
    if (instance.livedMs > backoffMaxMs) this.#strikes = 0;
    const delay = this.#strikes === 0 ? 0 : Math.min(backoffMaxMs, backoffMinMs * 2 ** (this.#strikes - 1));
    this.#strikes++;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!instance.fire("again")) return;
      instance.restarts++;
      this.#surroundings.tally.restarted(this.#config.name);
      this.#hooks.onComeBack(() => this.#start(instance));
    }, delay);
    this.#timers.add(timer);
  }

  #say(
    instance: Instance,
    type: string,
    message: string,
    code?: string,
    level: "info" | "error" = "info",
  ): void {
    this.#surroundings.say(
      { type, message, ...this.#where, instance: instance.id, ...(code === undefined ? {} : { code }) },
      level,
    );
  }
}
