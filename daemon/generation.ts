/**
 * A release running: its instances, and one slot on each of its listeners, shared by all of them.
 *
 *   starting → standby ⇄ serving → draining → stopped
 *       └───────────────────────────▶ draining → failed (it never became ready)
 *
 * An instance that exits unexpectedly comes back on the same slot, whose queue has waited for it. In `starting` it does not: a
 * candidate that cannot start is the deploy's to judge. `retirement.ts` ends a generation.
 */
import type { Reason } from "../deploy/deployment.ts";
import type { CandidateView } from "../deploy/fleet.ts";
import { CodedError, messageOf } from "../handoff/coded-error.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import type { Listener } from "../handoff/listener.ts";
import { Machine, type TransitionTable } from "../handoff/machine.ts";
import { specificationFor } from "./account.ts";
import { whyNot } from "./acceptance.ts";
import type { ServiceConfig } from "./config/config.ts";
import { endGroup } from "./ending.ts";
import { instanceExited, readyTimeout } from "./errors.ts";
import { Instance, type InstancePlan, type InstanceRecord, notifyName, vacantInstance } from "./instance.ts";
import { awaitReady } from "./readiness.ts";
import { retire } from "./retirement.ts";
import type { Surroundings } from "./surroundings.ts";
import { type Placement, verify } from "./verification.ts";

export type GenerationState = CandidateView["state"];
type GenerationEvent = "ready" | "admit" | "park" | "retire" | "end" | "fail";

export const GENERATION: TransitionTable<GenerationState, GenerationEvent> = {
  starting: { ready: "standby", retire: "draining" },
  standby: { admit: "serving", retire: "draining" },
  serving: { park: "standby", retire: "draining" },
  draining: { end: "stopped", fail: "failed" },
  stopped: {},
  failed: {},
};

export interface GenerationRecord {
  readonly number: number;
  readonly version: string | null;
  readonly state: GenerationState;
  readonly since: number;
  readonly startedAt: number;
  readonly weight: number;
  readonly exits: number;
  readonly failure: Reason | null;
  readonly wasReady: boolean;
  /** When its instances were told to end; they are not told twice. */
  readonly signalledAt: number | null;
  /** The slot's index on each listener. */
  readonly slots: Readonly<Record<string, number>>;
  readonly marks: readonly number[];
  readonly instances: readonly InstanceRecord[];
  /** As it was when the generation was started: restarts run what was deployed, whatever the file says by now. */
  readonly config: ServiceConfig;
}

export interface GenerationHooks {
  /** Something that `observe` or the snapshot shows has changed. */
  readonly onChange: () => void;
  /** The generation has ended and gives its slots back. */
  readonly onEnded: (placements: readonly Placement[]) => void;
}

export class Generation {
  readonly number: number;
  readonly version: string | null;
  readonly config: ServiceConfig;
  readonly startedAt: number;
  readonly #service: string;
  readonly #listeners: ReadonlyMap<string, Listener>;
  readonly #surroundings: Surroundings;
  readonly #hooks: GenerationHooks;
  readonly #machine: Machine<GenerationState, GenerationEvent>;
  readonly #instances: Instance[];
  readonly #work = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #placements: Placement[] = [];
  #marks: number[];
  #weight: number;
  #exits: number;
  #failure: Reason | null;
  #wasReady: boolean;
  #signalledAt: number | null;
  #verification: CandidateView["verification"] = "none";
  /** Consecutive early exits, for the back-off. */
  #strikes = 0;
  /** Everything that was begun and must be over before the generation can be said to have ended. */
  readonly #pending = new Set<Promise<void>>();

  private constructor(
    service: string,
    record: GenerationRecord,
    listeners: ReadonlyMap<string, Listener>,
    hooks: GenerationHooks,
    surroundings: Surroundings,
  ) {
    this.#service = service;
    this.number = record.number;
    this.version = record.version;
    this.config = record.config;
    this.startedAt = record.startedAt;
    this.#listeners = listeners;
    this.#hooks = hooks;
    this.#surroundings = surroundings;
    this.#machine = new Machine(GENERATION, record.state, record.since);
    this.#marks = [...record.marks];
    this.#weight = record.weight;
    this.#exits = record.exits;
    this.#failure = record.failure;
    this.#wasReady = record.wasReady;
    this.#signalledAt = record.signalledAt;
    this.#instances = record.instances.map((instance) => this.#place(instance));
  }

  /** A new one, at weight 0; `start()` begins it. */
  static create(
    config: ServiceConfig,
    number: number,
    version: string | null,
    listeners: ReadonlyMap<string, Listener>,
    hooks: GenerationHooks,
    surroundings: Surroundings,
  ): Generation {
    const now = Date.now();
    const instances = Array.from({ length: config.instances }, (_, index) => vacantInstance(index + 1, now));
    return new Generation(
      config.name,
      {
        number,
        version,
        state: "starting",
        since: now,
        startedAt: now,
        weight: 0,
        exits: 0,
        failure: null,
        wasReady: false,
        signalledAt: null,
        slots: {},
        marks: [],
        instances,
        config,
      },
      listeners,
      hooks,
      surroundings,
    );
  }

  /** One that another daemon has started. `resume()` goes on with it. */
  static recover(
    record: GenerationRecord,
    listeners: ReadonlyMap<string, Listener>,
    hooks: GenerationHooks,
    surroundings: Surroundings,
  ): Generation {
    const generation = new Generation(record.config.name, record, listeners, hooks, surroundings);
    for (const [name, index] of Object.entries(record.slots)) {
      const listener = listeners.get(name);
      const slot = listener?.slots[index];
      if (listener === undefined || slot === undefined) continue;
      slot.owner = generation.name;
      generation.#placements.push({ listener, slot });
    }
    return generation;
  }

  /** "api/3" */
  get name(): string {
    return `${this.#service}/${this.number}`;
  }

  get state(): GenerationState {
    return this.#machine.state;
  }

  get since(): number {
    return this.#machine.since;
  }

  get isOver(): boolean {
    return this.state === "stopped" || this.state === "failed";
  }

  get weight(): number {
    return this.#weight;
  }

  get instances(): readonly Instance[] {
    return this.#instances;
  }

  get placements(): readonly Placement[] {
    return this.#placements;
  }

  /** SO_MARK values that its connections bear. */
  get marks(): readonly number[] {
    return this.#marks;
  }

  get signalledAt(): number | null {
    return this.#signalledAt;
  }

  get wasReady(): boolean {
    return this.#wasReady;
  }

  get view(): CandidateView {
    return {
      state: this.state,
      weight: this.#weight,
      ready: this.#instances.filter(({ isReady }) => isReady).length,
      wanted: this.#instances.length,
      exits: this.#exits,
      failure: this.#failure,
      verification: this.#verification,
    };
  }

  get record(): GenerationRecord {
    return {
      number: this.number,
      version: this.version,
      state: this.state,
      since: this.since,
      startedAt: this.startedAt,
      weight: this.#weight,
      exits: this.#exits,
      failure: this.#failure,
      wasReady: this.#wasReady,
      signalledAt: this.#signalledAt,
      slots: Object.fromEntries(this.#placements.map(({ listener, slot }) => [listener.name, slot.index])),
      marks: this.#marks,
      instances: this.#instances.map((instance) => instance.record),
      config: this.config,
    };
  }

  /** The pids of the living instances. */
  pids(): number[] {
    return this.#instances.map(({ pid }) => pid).filter((pid) => pid !== null);
  }

  /** Takes slots and starts the instances. Does not throw: what went wrong is the view's failure. */
  start(): void {
    this.#begin(async () => {
      for (const name of this.config.listeners) {
        const listener = this.#listeners.get(name);
        if (listener === undefined) throw new Error(`service ${this.#service} without its listener ${name}`);
        const slot = await listener.take(this.name);
        this.#placements.push({ listener, slot });
        if (slot.mark !== 0) this.#marks.push(slot.mark);
      }
      this.#watchReadiness();
      await Promise.all(this.#instances.map((instance) => this.#startInstance(instance)));
    }, true);
  }

  /** Goes on with the processes that run. `kept` has the notify sockets that the keeper gave back. */
  resume(record: GenerationRecord, kept: Map<string, Descriptor>): void {
    for (const [index, instance] of this.#instances.entries()) {
      const known = record.instances[index];
      if (known === undefined) continue;
      const name = notifyName(this.name, instance.id);
      const notify = kept.get(name);
      kept.delete(name);
      const wasAlive = known.state !== "failed" && known.state !== "stopped";
      if (instance.adopt(known, notify) || this.state === "draining") continue;
      instance.fire("exit");
      if (wasAlive) {
        this.#countExit(
          instanceExited(`instance ${known.id} of ${this.name}`, "ended", "while no daemon ran"),
        );
      }
      if (this.#wasReady) this.#comeBack(instance);
    }
    if (this.state === "starting") this.#watchReadiness();
    if (this.state === "draining") this.#end();
  }

  /** Its share of new connections, which the listeners have already. */
  setWeight(weight: number): void {
    this.#weight = weight;
    const event = weight > 0 ? "admit" : "park";
    this.#fire(event);
    for (const instance of this.#instances) instance.fire(event);
  }

  /** Proves the generation; the outcome is the view's `verification`. */
  verify(): void {
    this.#verification = "running";
    const { verify: steps } = this.config;
    const plan = {
      candidate: this.#candidate,
      placements: this.#placements,
      steps,
      devNull: this.#surroundings.devNull,
      version: this.version,
      commandSpecification: (command: readonly string[], extra: Readonly<Record<string, string>>) =>
        specificationFor(this.config, this.version, command, { ...this.#variables, ...extra }, false),
    };
    this.#begin(async () => {
      try {
        await verify(plan, this.#work.signal);
        this.#verification = "passed";
      } catch (error) {
        if (this.#work.signal.aborted) return;
        this.#verification = "failed";
        this.#surroundings.tally.verificationFailed(this.#service);
        throw error;
      } finally {
        this.#hooks.onChange();
      }
    });
  }

  /** Ends it, in the order of retirement.ts. Doing so twice is once. */
  retire(): void {
    if (!this.#fire("retire")) return;
    this.#hooks.onChange();
    this.#end();
  }

  /** Told by retirement.ts, before the signal goes out. */
  signalling(now: number): void {
    this.#signalledAt = now;
    this.#hooks.onChange();
  }

  #end(): void {
    this.#work.abort(new CodedError("GENERATION_RETIRED", `${this.name} is being retired`));
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    void (async () => {
      // What was begun ends by the abort; a process that was just being started is then there to be ended.
      await Promise.all(this.#pending);
      for (const instance of this.#instances) instance.fire("retire");
      await retire(this, this.#surroundings);
      const placements = this.#placements.splice(0);
      for (const { slot } of placements) if (slot.owner === this.name) slot.owner = null;
      this.#fire(this.#wasReady ? "end" : "fail");
      this.#weight = 0;
      this.#hooks.onEnded(placements);
      this.#hooks.onChange();
    })();
  }

  get #candidate() {
    return { name: this.name, pids: () => this.pids() };
  }

  get #variables(): Record<string, string> {
    return {
      HANDOFF_SERVICE: this.#service,
      HANDOFF_GENERATION: String(this.number),
      HANDOFF_VERSION: this.version ?? "",
    };
  }

  #place(record: InstanceRecord): Instance {
    const plan: InstancePlan = {
      generation: this.name,
      specification: (extra) =>
        specificationFor(
          this.config,
          this.version,
          this.config.command,
          { ...this.#variables, ...extra },
          true,
        ),
      offers: () => this.#placements.map(({ listener, slot }) => ({ name: listener.name, fd: slot.fd })),
      output: this.config.output,
    };
    const instance: Instance = new Instance(
      plan,
      record,
      {
        onNotify: (message) => this.#notified(instance, message),
        onSpawned: () => this.#hooks.onChange(),
        onExit: (failure, expected) => this.#exited(instance, failure, expected),
      },
      this.#surroundings,
    );
    return instance;
  }

  async #startInstance(instance: Instance): Promise<void> {
    try {
      await instance.start();
    } catch (error) {
      this.#failed(instance, error);
      return;
    }
    this.#surroundings.say({
      type: "instance.started",
      message: `instance ${instance.id} of ${this.name} was started (pid ${instance.pid ?? "gone"})`,
      ...this.#where(instance),
    });
    this.#hooks.onChange();
  }

  #notified(instance: Instance, message: ReadonlyMap<string, string>): void {
    if (message.get("READY") !== "1" || this.config.ready.by !== "notify") return;
    this.#ready([instance]);
  }

  #ready(instances: readonly Instance[]): void {
    const becameReady = instances.filter((instance) => instance.process !== null && instance.fire("ready"));
    if (becameReady.length === 0) return;
    // Applications change the backlog on the description that all share (Node sets 511).
    for (const { listener, slot } of this.#placements) slot.assertBacklog(listener.backlog);
    for (const instance of becameReady) {
      if (this.#weight > 0) instance.fire("admit");
      this.#surroundings.say({
        type: "instance.ready",
        message: `instance ${instance.id} of ${this.name} is ready`,
        ...this.#where(instance),
      });
    }
    if (this.#instances.every(({ isReady }) => isReady)) {
      this.#wasReady = true;
      this.#fire("ready");
    }
    this.#hooks.onChange();
  }

  #watchReadiness(): void {
    const { ready } = this.config;
    const deadline = performance.now() + ready.timeoutMs;
    this.#after(ready.timeoutMs, () => this.#readyTimedOut());
    if (ready.by === "notify") return;
    this.#begin(async () => {
      await awaitReady(ready, this.#placements, this.#candidate, deadline, this.#work.signal);
      this.#ready(this.#instances);
    });
  }

  #readyTimedOut(): void {
    const late = this.#instances.filter(({ state }) => state === "starting");
    if (late.length === 0) return;
    const { ready } = this.config;
    const first = this.#placements[0];
    const hint =
      ready.by === "notify"
        ? "it did not say READY=1 on NOTIFY_SOCKET"
        : first === undefined
          ? "nothing proves it"
          : whyNot(first.listener, first.slot, this.#candidate);
    this.#fail(readyTimeout(this.name, ready.timeoutMs, hint));
    if (this.#wasReady) for (const instance of late) instance.process?.killGroup("SIGKILL");
  }

  #exited(instance: Instance, failure: CodedError, expected: boolean): void {
    this.#surroundings.tally.exited(this.#service, expected ? "expected" : "unexpected");
    this.#surroundings.say(
      { type: "instance.exited", message: failure.message, code: failure.code, ...this.#where(instance) },
      expected ? "info" : "error",
    );
    this.#cleanUp(instance, expected);
    if (expected) return;
    // The launcher's own failure is no exit of the application: nothing of it ever ran.
    if (failure.code === "LAUNCH_FAILED") this.#failed(instance, failure);
    else this.#lost(instance, failure);
  }

  /** A process that ran has ended. A candidate's deploy judges it; a proved generation replaces it. */
  #lost(instance: Instance, failure: CodedError): void {
    this.#countExit(failure);
    if (this.#wasReady) this.#comeBack(instance);
    this.#hooks.onChange();
  }

  /** A process could not be started. The next one of a candidate could not either. */
  #failed(instance: Instance, error: unknown): void {
    if (this.#wasReady) {
      this.#fail(error);
      this.#comeBack(instance);
    } else {
      this.#fail(error);
      this.retire();
    }
  }

  #countExit(failure: CodedError): void {
    this.#exits++;
    this.#failure = { code: failure.code, message: failure.message };
  }

  /** What the instance left in its process group gets the time of a drain; it may be serving users still. */
  #cleanUp(instance: Instance, isDraining: boolean): void {
    if (isDraining) return; // retirement.ts has the process, and the group with it.
    const ended = instance.takeEnded();
    if (ended === null) return;
    const { signal, timeoutMs } = this.config.drain;
    ended.killGroup(signal);
    void endGroup(ended, null, Date.now() + timeoutMs, () => undefined);
  }

  /** Starts the instance again: at once after a good life, later and later after a short one. */
  #comeBack(instance: Instance): void {
    const { backoffMinMs, backoffMaxMs } = this.config.restart;
    const lived = Date.now() - instance.record.since;
    if (lived > backoffMaxMs) this.#strikes = 0;
    const delay = this.#strikes === 0 ? 0 : Math.min(backoffMaxMs, backoffMinMs * 2 ** (this.#strikes - 1));
    this.#strikes++;
    this.#after(delay, () => {
      if (!instance.fire("again")) return;
      instance.restarts++;
      this.#surroundings.tally.restarted(this.#service);
      this.#begin(async () => {
        this.#watchReadiness();
        await this.#startInstance(instance);
      });
    });
  }

  #after(delayMs: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, delayMs);
    this.#timers.add(timer);
  }

  /**
   * Runs something whose failure is the view's failure, and that must be over before the generation has ended. Where it
   * is `essential`, the failure is also the generation's end.
   */
  #begin(work: () => Promise<void>, essential = false): void {
    const running = work().catch((error: unknown) => {
      if (this.#work.signal.aborted) return;
      this.#fail(error);
      if (essential) this.retire();
    });
    this.#pending.add(running);
    void running.then(() => this.#pending.delete(running));
  }

  #fail(error: unknown): void {
    if (!(error instanceof CodedError))
      this.#surroundings.log.error({ err: error, generation: this.name }, "a fault");
    const { code, message } =
      error instanceof CodedError
        ? error
        : { code: "INTERNAL", message: `a fault in handoffd: ${messageOf(error)}` };
    this.#failure = { code, message };
    this.#surroundings.say(
      { type: "generation.failure", message, code, service: this.#service, generation: this.number },
      "warn",
    );
    this.#hooks.onChange();
  }

  #fire(event: GenerationEvent): boolean {
    return this.#machine.fire(event, Date.now());
  }

  #where(instance: Instance) {
    return { service: this.#service, generation: this.number, instance: instance.id };
  }
}
