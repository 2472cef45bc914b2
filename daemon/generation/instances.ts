/**
 * The instances of one generation: they are started together, and one that ends unexpectedly comes back on the same slot, whose
 * queue has waited for it. Before the generation was ready none comes back: a candidate that cannot start is the
 * deploy's to judge. How many there are may change while they run: those that are too many drain, and then they are gone.
 */
import type { CodedError } from "../../handoff/coded-error.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";
import type { Said } from "../../handoff/messages.ts";
import type { StoreRequest } from "../../handoff/notify.ts";
import type { ServiceConfig } from "../config/config.ts";
import { endGroup, within } from "./ending.ts";
import { instanceExited } from "../errors.ts";
import { cancelStart, endInstance, type Member } from "../external/external.ts";
import { Instance, type InstanceEvent, type InstanceRecord, vacantInstance } from "./instance.ts";
import { reach } from "../fault.ts";
import { socketsOf } from "../proc.ts";
import type { InstancePlan } from "./instance-plan.ts";
import type { Surroundings } from "../surroundings.ts";

export interface InstancesHooks {
  /** READY=1 of an instance. */
  readonly onReadySaid: (instance: Instance) => void;
  readonly onStore: (request: StoreRequest) => Promise<void>;
  /** A process that ran has ended unexpectedly. */
  readonly onLost: (failure: CodedError) => void;
  /** A process could not be started. */
  readonly onNotStarted: (error: unknown) => void;
  /** An instance is being started again; the work is the generation's to keep track of. */
  readonly onComeBack: (start: () => Promise<void>) => void;
  /** So many processes of one that was to leave outlived drain.timeout, and were killed. */
  readonly onKilled: (killed: number) => void;
  readonly onChange: () => void;
  /** Whether the generation was ready once: then what ends comes back. */
  readonly comesBack: () => boolean;
}

/** As the snapshot has it. */
export interface GroupedInstanceRecord extends InstanceRecord {
  /** A resize has told it to end, or was about to; absent and null: not so. */
  readonly leaving?: { readonly isTold: boolean; readonly isInDoubt?: boolean } | null;
}

interface Leaving {
  isTold: boolean;
  /** It is being told, or an earlier daemon was about to. */
  isInDoubt: boolean;
  left: Promise<void>;
}

export class Instances {
  readonly #all: Instance[];
  /** Those that a resize has told to end, or is about to tell. */
  readonly #leaving = new Map<Instance, Leaving>();
  readonly #starting = new Map<Instance, Promise<void>>();
  /** As they were when this object was made: for `resume`. */
  readonly #known: readonly GroupedInstanceRecord[];
  readonly #plan: InstancePlan;
  readonly #member: Member;
  readonly #config: ServiceConfig;
  readonly #where: { readonly service: string; readonly generation: number };
  readonly #hooks: InstancesHooks;
  readonly #surroundings: Surroundings;
  /** Their launchers may have ended with the daemon, before they got their descriptors. */
  readonly #cutOff = new Set<Instance>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #mayComeBack = true;
  /** Consecutive early exits, for the back-off. */
  #strikes = 0;

  constructor(
    plan: InstancePlan,
    records: readonly GroupedInstanceRecord[],
    member: Member,
    hooks: InstancesHooks,
    surroundings: Surroundings,
  ) {
    this.#known = records;
    this.#plan = plan;
    this.#member = member;
    this.#config = member.config;
    this.#where = { service: member.config.name, generation: member.number };
    this.#hooks = hooks;
    this.#surroundings = surroundings;
    this.#all = records.map((record) => this.#place(record));
  }

  get all(): readonly Instance[] {
    return this.#all;
  }

  /** All but those that are leaving. */
  get staying(): readonly Instance[] {
    return this.#all.filter((instance) => !this.#leaving.has(instance));
  }

  get leaving(): number {
    return this.#leaving.size;
  }

  get records(): GroupedInstanceRecord[] {
    return this.all.map((instance) => {
      const leaving = this.#leaving.get(instance);
      return {
        ...instance.record,
        leaving: leaving === undefined ? null : { isTold: leaving.isTold, isInDoubt: leaving.isInDoubt },
      };
    });
  }

  /** Until when those that start have asked to be let start, in milliseconds since the epoch; 0: they have not. */
  get extendedTo(): number {
    return Math.max(
      0,
      ...this.staying.map(({ state, notices }) => (state === "starting" ? notices.extendedTo : 0)),
    );
  }

  get ready(): number {
    return this.all.filter(({ isReady }) => isReady).length;
  }

  /** The pids of the living processes. */
  get pids(): number[] {
    return this.all.map(({ pid }) => pid).filter((pid) => pid !== null);
  }

  /** Starts those in whose place nothing has run yet. Returns when every launcher has its descriptors, or has failed. */
  async start(): Promise<void> {
    const vacant = this.staying.filter((instance) => instance.isVacant && !this.#starting.has(instance));
    await Promise.all(vacant.map((instance) => this.#start(instance)));
  }

  /**
   * So many stay: places are added, to be started by `start`, or the surplus is told to end, those that are not ready first and
   * then the youngest. Returns those that were added.
   */
  resize(wanted: number): readonly Instance[] {
    const { staying } = this;
    const surplus = staying
      .toSorted((a, b) => Number(a.isReady) - Number(b.isReady) || b.id - a.id)
      .slice(0, Math.max(0, staying.length - wanted));
    for (const instance of surplus) {
      instance.fire("retire");
      this.#leave(instance, { isTold: false });
    }
    const added: Instance[] = [];
    for (let id = 1; staying.length + added.length < wanted; id++) {
      if (this.#all.some((instance) => instance.id === id)) continue;
      const instance = this.#place(vacantInstance(id, Date.now()));
      this.#all.push(instance);
      added.push(instance);
    }
    return added;
  }

  /** Returns when those that were told to leave have left. */
  async whenLeft(): Promise<void> {
    await Promise.all([...this.#leaving.values()].map(({ left }) => left));
  }

  /**
   * Goes on with the processes that run. What is used is taken out of `kept`. `isPlaced`: the slots are there, so that what was not
   * started yet may be started, and of those that someone else starts, who has not come may come still.
   */
  resume(kept: Map<string, Descriptor>, isDraining: boolean, isPlaced: boolean): void {
    const isForeign = this.#plan.external !== null;
    for (const [index, instance] of [...this.all].entries()) {
      const record = this.#known[index] ?? { ...instance.record, leaving: null };
      const isCutOff = record.state === "starting" && !instance.wasGranted(kept);
      if (isCutOff && isPlaced && !isForeign) this.#cutOff.add(instance);
      const isAlive = instance.adopt(record, kept);
      if (record.leaving) this.#leave(instance, record.leaving);
      if (isAlive || isDraining || record.leaving) continue;
      if (isForeign && isPlaced && record.state === "starting" && record.pid === null) continue;
      const who = `instance ${instance.id} of ${this.#plan.generation}`;
      if (instance.fire("exit")) this.#lost(instance, instanceExited(who, "ended", "while no daemon ran"));
      else if (instance.state === "failed") this.#comeBack(instance);
    }
  }

  /** Those that were starting are ready. Returns whether there were any. */
  markReady(instances: readonly Instance[], isServing: boolean): boolean {
    const became = instances.filter((instance) => instance.process !== null && instance.fire("ready"));
    for (const instance of became) {
      this.#cutOff.delete(instance);
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
    for (const instance of this.staying) if (instance.state === "failed") this.#comeBack(instance);
  }

  #start(instance: Instance): Promise<void> {
    const started = this.#launch(instance).finally(() => this.#starting.delete(instance));
    this.#starting.set(instance, started);
    return started;
  }

  async #launch(instance: Instance): Promise<void> {
    try {
      await instance.start();
    } catch (error) {
      if (!this.#leaving.has(instance) && !instance.isVacant) this.#notStarted(instance, error);
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

  /** `isTold`: an earlier daemon has sent the signal; it is not sent twice (retirement.ts). */
  #leave(
    instance: Instance,
    { isTold, isInDoubt = false }: NonNullable<GroupedInstanceRecord["leaving"]>,
  ): void {
    const leaving: Leaving = { isTold, isInDoubt, left: Promise.resolve() };
    this.#leaving.set(instance, leaving);
    leaving.left = this.#end(instance, leaving).catch((error: unknown) => {
      this.#surroundings.log.error(
        { err: error, ...this.#where, instance: instance.id },
        "a fault while ending",
      );
    });
  }

  async #end(instance: Instance, leaving: Leaving): Promise<void> {
    instance.cancel();
    // One that is just being started has its process when that is over, if at all.
    await this.#starting.get(instance);
    const process = instance.process ?? instance.takeEnded();
    const { signal, timeoutMs } = this.#config.drain;
    if (process === null) await cancelStart(this.#member, instance.id, this.#surroundings);
    else {
      // Died the daemon before it had written that down, the process itself tells: one that was told has closed its sockets.
      if (leaving.isInDoubt && !this.#accepts(process.pid)) leaving.isTold = true;
      if (!leaving.isTold) {
        leaving.isInDoubt = true;
        this.#hooks.onChange();
        this.#surroundings.moves.route({ ...this.#where, instance });
      }
      const deadline = (): number => Math.max(instance.since + timeoutMs, instance.notices.extendedTo);
      const how = { signal: leaving.isTold ? null : signal, deadline, onKill: () => undefined };
      const ended = endInstance(this.#member, instance.id, process, how, this.#surroundings);
      reach("leave.signalled");
      leaving.isTold = true;
      this.#hooks.onChange();
      const { killed } = await ended;
      if (killed > 0) this.#hooks.onKilled(killed);
      this.#surroundings.moves.sayLeft({ ...this.#where, instance });
    }
    this.#leaving.delete(instance);
    this.#all.splice(this.#all.indexOf(instance), 1);
    this.#hooks.onChange();
  }

  /** Whether it has one of the generation's slots, where that has any. */
  #accepts(pid: number): boolean {
    const [slots, sockets] = [this.#plan.slots(), socketsOf(pid)];
    return slots.length === 0 || slots.some((inode) => sockets.has(inode));
  }

  #place(record: InstanceRecord): Instance {
    const instance: Instance = new Instance(
      this.#plan,
      record,
      {
        onNotify: (message) => {
          const asksForMore = instance.notices.hear(message, Date.now());
          // While it serves there is nothing that the next daemon would have to wait for.
          if (asksForMore && (instance.state === "starting" || instance.state === "draining"))
            this.#hooks.onChange();
          if (message.get("READY") === "1") this.#hooks.onReadySaid(instance);
          else if (message.get("STOPPING") === "1") this.#withdraw(instance);
        },
        onSaid: (said) => this.#heard(instance, said),
        onViolation: (why) => this.#surroundings.moves.violated({ ...this.#where, instance }, why),
        onStore: (request) => this.#hooks.onStore(request),
        onSpawned: () => this.#hooks.onChange(),
        onExit: (failure, expected) => this.#exited(instance, failure, expected),
      },
      this.#surroundings,
    );
    return instance;
  }

  #heard(instance: Instance, said: Said): void {
    this.#surroundings.moves.heard({ ...this.#where, instance }, said);
    // The next daemon has to know; what is counted is written with whatever changes next.
    if (said.type === "hello" || said.type === "want") this.#hooks.onChange();
  }

  #withdraw(instance: Instance): void {
    if (!instance.fire("withdraw")) return;
    const message = `instance ${instance.id} of ${this.#plan.generation} says that it is stopping, and nobody has told it to`;
    this.#say(instance, "instance.withdrawn", message, undefined, "error");
    this.#hooks.onChange();
  }

  #exited(instance: Instance, failure: CodedError, expected: boolean): void {
    this.#surroundings.tally.exited(this.#config.name, expected ? "expected" : "unexpected");
    // A code says what failed: an end that was asked for has none.
    if (expected) this.#say(instance, "instance.exited", failure.message);
    else this.#say(instance, "instance.exited", failure.message, failure.code, "error");
    if (expected) return; // retirement.ts has the process, and its group with it.
    this.#cleanUp(instance);
    // The launcher's own failure is no exit of the application: nothing of it ever ran.
    if (failure.code === "LAUNCH_FAILED") this.#notStarted(instance, failure);
    else this.#lost(instance, failure);
  }

  #lost(instance: Instance, failure: CodedError): void {
    // Nothing of the application may ever have run: its end says nothing of the release.
    if (this.#cutOff.delete(instance) && instance.fire("again")) {
      this.#hooks.onComeBack(() => this.#start(instance));
      return;
    }
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
    void endGroup(ended, null, within(timeoutMs), () => undefined);
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
