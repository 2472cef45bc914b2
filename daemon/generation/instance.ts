/**
 * One place for a process of a generation. The process in it may end unexpectedly and be replaced; the place, its number and its
 * slot stay. Spawned or adopted after a recovery, it is watched by the same pidfd.
 *
 *   starting → standby ⇄ serving → draining → stopped
 *      ▲  └───────┴─────────┴──▶ failed (no process; comes back by `again`)
 *
 * A ready one that says it is stopping, unasked, is starting again: it is ready when it says so anew, or ends.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { type CodedError, messageOf } from "../../handoff/coded-error.ts";
import { Channel } from "../../handoff/channel.ts";
import { type Descriptor, takeFrom } from "../../handoff/descriptor.ts";
import { launch, welcome } from "../../handoff/launch.ts";
import { Machine, type TransitionTable } from "../../handoff/machine.ts";
import type { Said } from "../../handoff/messages.ts";
import type { ExitStatus } from "../../handoff/native.ts";
import { NotifySocket, type StoreRequest } from "../../handoff/notify.ts";
import { Process } from "../../handoff/process.ts";
import type { OutputConfig } from "../config/config.ts";
import { type Arrival, sendAway } from "../external/door.ts";
import { describeExit } from "./ending.ts";
import { instanceExited } from "../errors.ts";
import { reach } from "../fault.ts";
import type { ExternalPlan, InstancePlan } from "./instance-plan.ts";
import { letGo } from "../sockets/let-go.ts";
import { Notices } from "./notices.ts";
import { openOutput, type Output } from "./output.ts";
import { type LoweredRecord, Priority } from "./priority.ts";
import { ProgramChannel, SAID_NOTHING, type SaidRecord } from "./program-channel.ts";
import type { Surroundings } from "../surroundings.ts";

export type InstanceState = "starting" | "standby" | "serving" | "draining" | "stopped" | "failed";
export type InstanceEvent = "ready" | "admit" | "park" | "withdraw" | "retire" | "exit" | "again";

export const INSTANCE: TransitionTable<InstanceState, InstanceEvent> = {
  starting: { ready: "standby", retire: "draining", exit: "failed" },
  standby: { admit: "serving", withdraw: "starting", retire: "draining", exit: "failed" },
  serving: { park: "standby", withdraw: "starting", retire: "draining", exit: "failed" },
  draining: { exit: "stopped" },
  failed: { again: "starting", retire: "stopped" },
  stopped: {},
};

const HANDOFF_MS = 10_000;
/** What somebody else has started writes where they have said. */
const THEIRS: OutputConfig = { kind: "inherit" };
const THEIR_EXIT = "has exited (with which status knows whoever started it)";

export interface InstanceHooks {
  /** READY=1, STATUS=…: an assignment on the instance's own socket. */
  readonly onNotify: (message: ReadonlyMap<string, string>) => void;
  /** What it says on its channel, and that it has lost that. */
  readonly onSaid: (said: Said) => void;
  readonly onViolation: (why: CodedError) => void;
  /** FDSTORE=1, FDSTOREREMOVE=1 on the same. Never rejects. */
  readonly onStore: (request: StoreRequest) => Promise<void>;
  /** The process exists and runs nothing yet: the last moment to write its pid down. */
  readonly onSpawned: () => void;
  /** The process has ended; `failure` says how. `expected` while it is being drained. */
  readonly onExit: (failure: CodedError, expected: boolean) => void;
}

/** What the snapshot needs to find the process again. */
export interface InstanceRecord {
  readonly id: number;
  readonly state: InstanceState;
  readonly since: number;
  readonly restarts: number;
  readonly pid: number | null;
  readonly startTime: string | null;
  readonly said: SaidRecord;
  /** See Notices; absent: 0. */
  readonly extendedTo?: number;
  /** See Priority; absent, as null: it has the configured one. */
  readonly lowered?: LoweredRecord;
}

/** A place in which nothing has run yet. */
export function vacantInstance(id: number, now: number): InstanceRecord {
  return { id, state: "starting", since: now, restarts: 0, pid: null, startTime: null, said: SAID_NOTHING };
}

export class Instance {
  readonly id: number;
  restarts: number;
  readonly notices: Notices;
  readonly #plan: InstancePlan;
  readonly #hooks: InstanceHooks;
  readonly #surroundings: Surroundings;
  readonly #machine: Machine<InstanceState, InstanceEvent>;
  readonly #priority: Priority;
  #process: Process | null = null;
  #program: ProgramChannel | null = null;
  /** Of the process that has ended. */
  #said: SaidRecord;
  #notify: NotifySocket | null = null;
  /** The process that has ended but whose group may still have members. */
  #ended: Process | null = null;
  #livedMs = 0;
  /** Aborted when it is not awaited any more. */
  readonly #cancelled = new AbortController();

  constructor(
    plan: InstancePlan,
    record: Omit<InstanceRecord, "pid" | "startTime">,
    hooks: InstanceHooks,
    surroundings: Surroundings,
  ) {
    this.id = record.id;
    this.restarts = record.restarts;
    this.#said = record.said;
    this.notices = new Notices(record.extendedTo);
    this.#plan = plan;
    this.#hooks = hooks;
    this.#surroundings = surroundings;
    this.#machine = new Machine(INSTANCE, record.state, record.since);
    this.#priority = new Priority(record.lowered, surroundings.log);
  }

  get state(): InstanceState {
    return this.#machine.state;
  }

  /** When the state began, in milliseconds since the epoch. */
  get since(): number {
    return this.#machine.since;
  }

  /** Nothing has run in its place yet. */
  get isVacant(): boolean {
    return this.state === "starting" && this.#process === null;
  }

  get isReady(): boolean {
    return this.state === "standby" || this.state === "serving";
  }

  /** The living process; null while there is none. */
  get process(): Process | null {
    return this.#process;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  /** The other end of its channel; null while there is none. */
  get program(): ProgramChannel | null {
    return this.#program;
  }

  get said(): SaidRecord {
    return this.#program?.record ?? this.#said;
  }

  get record(): InstanceRecord {
    const lowered = this.#priority.record;
    return {
      id: this.id,
      state: this.state,
      since: this.#machine.since,
      restarts: this.restarts,
      pid: this.pid,
      startTime: this.#process?.startTime ?? null,
      said: this.said,
      extendedTo: this.notices.extendedTo,
      ...(lowered !== null && { lowered }),
    };
  }

  /** For how long it was ready before it ended, in milliseconds; 0 when it never was. */
  get livedMs(): number {
    return this.#livedMs;
  }

  fire(event: InstanceEvent): boolean {
    // Before anybody can be sent to it, and before it is written down.
    if (event === "ready" || event === "retire") this.hurry();
    const hasChanged = this.#machine.fire(event, Date.now());
    if (hasChanged) this.notices.forgetExtension();
    return hasChanged;
  }

  /** It starts at the configured priority from here on. */
  hurry(): void {
    this.#priority.giveBack(this.pid);
  }

  /** Nobody is awaited for it any more. */
  cancel(): void {
    this.#cancelled.abort();
  }

  /**
   * Starts the process, or waits for the one that somebody else starts. Throws a CodedError when it could not be started, and then
   * nothing runs. One that is no longer awaited is vacant as before.
   */
  async start(): Promise<void> {
    const { external } = this.#plan;
    const arrival = external === null ? null : await this.#await(external);
    let output: Output | null = null;
    try {
      output = openOutput(arrival === null ? this.#plan.output : THEIRS, this.#plan.generation);
      const variables = { NOTIFY_SOCKET: this.#notifyPath, HANDOFF_INSTANCE: String(this.id) };
      const specification = this.#priority.specify(
        (external ?? this.#plan).specification({ ...variables, ...output.variables }),
        this.#plan.yields(),
      );
      const owner = arrival ?? specification.identity;
      this.#notify = this.#openNotify(owner);
      await this.#surroundings.keeper().put(this.#notifyName, this.#notify.fd);
      const offers = await this.#plan.offers();
      const began = performance.now();
      const written = output.descriptor?.fd;
      const standard = [this.#surroundings.devNull, written ?? 1, written ?? 2] as const;
      const onSpawned = (process: Process): void => {
        this.#process = process;
        this.#priority.spawned(process.pid);
        this.#hooks.onSpawned();
        reach("launch.spawned");
      };
      const launched =
        arrival === null
          ? await launch(specification, offers, standard, HANDOFF_MS, onSpawned)
          : await welcome(arrival, specification, offers, HANDOFF_MS, onSpawned);
      this.#surroundings.tally.handedOff((performance.now() - began) / 1000);
      this.#surroundings.tally.descriptorsPassed(offers.length);
      this.#program = new ProgramChannel(launched.channel, SAID_NOTHING, this.#hooks);
      this.#watch(launched.process);
      reach("launch.granted");
      await this.#keepChannel(this.#program);
    } catch (error) {
      this.#process = null;
      if (arrival !== null) sendAway(arrival, messageOf(error));
      this.fire("exit");
      this.#letGo();
      throw error;
    } finally {
      output?.descriptor?.close();
    }
  }

  async #await(external: ExternalPlan): Promise<Arrival> {
    try {
      return await external.arrival(this.id, this.#cancelled.signal);
    } catch (error) {
      if (!external.signal().aborted) this.fire("exit");
      throw error;
    }
  }

  /** Whether its launcher got the descriptors for certain: the keeper has the channel only then. */
  wasGranted(kept: ReadonlyMap<string, Descriptor>): boolean {
    return kept.has(this.#channelName);
  }

  /** Goes on with a process that runs already, and with what was kept of it. false when it is gone, or another one has its pid. */
  adopt(record: InstanceRecord, kept: Map<string, Descriptor>): boolean {
    const notify = takeFrom(kept, this.#notifyName);
    const channel = takeFrom(kept, this.#channelName);
    if (channel !== null) this.#program = new ProgramChannel(new Channel(channel), record.said, this.#hooks);
    if (notify !== null) {
      const { onNotify, onStore } = this.#hooks;
      this.#notify = NotifySocket.resume(this.#notifyPath, notify, onNotify, onStore);
    }
    const found =
      record.pid === null || record.startTime === null
        ? null
        : Process.adopt(record.pid, record.startTime, this.#plan.external !== null);
    if (found === null) {
      // What it had still to say.
      this.#program?.end();
      this.#letGo();
      return false;
    }
    if (notify === null) this.#listenAgain(found.pid);
    this.#watch(found);
    // What it had asked the daemon before for.
    if (this.said.wants) this.#hooks.onSaid({ type: "want" });
    return true;
  }

  /** What lives on outside the process, by the keeper's names. The descriptors stay this object's. */
  get descriptors(): ReadonlyMap<string, number> {
    const held = new Map<string, number>();
    if (this.#notify !== null) held.set(this.#notifyName, this.#notify.fd);
    if (this.#program?.open === true) held.set(this.#channelName, this.#program.fd);
    return held;
  }

  /** Gives the notify socket and the channel to the keeper. */
  async keep(): Promise<void> {
    for (const [name, fd] of this.descriptors) await this.#surroundings.keeper().put(name, fd);
  }

  /** Whatever it says waits for the next image, or for `unpause`. Resolves when what it has asked for is done. */
  pause(): Promise<void> {
    this.#program?.pause();
    return this.#notify?.pause() ?? Promise.resolve();
  }

  unpause(): void {
    this.#program?.listen();
    this.#notify?.unpause();
  }

  /** Only now: a launcher that waits for its grant must see the daemon's death. */
  async #keepChannel(channel: ProgramChannel): Promise<void> {
    if (!channel.open) return; // It has ended already.
    try {
      await this.#surroundings.keeper().put(this.#channelName, channel.fd);
    } catch (error) {
      // The application runs. The next keeper gets everything; without one the SDK comes back by itself.
      this.#surroundings.log.warn({ err: error }, "the keeper did not take a channel");
    }
  }

  /** Nobody has kept the notify socket: what the process says to the same path from now on is heard. */
  #listenAgain(pid: number): void {
    try {
      // Its user is that of its folder in /proc (proc(5)), where somebody else has chosen it.
      const owner = this.#plan.external === null ? this.#plan.identity() : statSync(`/proc/${pid}`);
      this.#notify = this.#openNotify(owner);
    } catch (error) {
      this.#surroundings.log.warn({ err: error, instance: this.id }, "an instance cannot be heard");
    }
  }

  #openNotify(owner: { readonly uid: number; readonly gid: number } | null): NotifySocket {
    return NotifySocket.open(this.#notifyPath, owner, this.#hooks.onNotify, this.#hooks.onStore);
  }

  #watch(process: Process): void {
    this.#process = process;
    process.onExit((status) => this.#hasEnded(process, status));
  }

  #hasEnded(process: Process, status: ExitStatus): void {
    const launcher = this.#program?.end() ?? null;
    const expected = this.state === "draining";
    this.#livedMs = this.isReady ? Date.now() - this.#machine.since : 0;
    this.fire("exit");
    this.#process = null;
    this.#letGo();
    const who = `instance ${this.id} of ${this.#plan.generation} (pid ${process.pid})`;
    const failure =
      launcher ??
      instanceExited(
        who,
        process.isForeign ? THEIR_EXIT : describeExit(status),
        expected ? "as it was told to" : "unexpectedly",
      );
    this.#ended = process;
    this.notices.forget();
    this.#hooks.onExit(failure, expected);
  }

  /** Takes over the process that has ended, to end what is left of its group and to release it. */
  takeEnded(): Process | null {
    const ended = this.#ended;
    this.#ended = null;
    return ended;
  }

  #letGo(): void {
    const isKept = this.#notify !== null || this.#program !== null;
    this.#said = { ...this.said, kinds: [], wants: false };
    this.#program?.close();
    this.#program = null;
    const unread = this.#notify?.end();
    this.#notify = null;
    // Without a process the keeper's duplicates have no meaning.
    if (!isKept) return;
    const names = [this.#notifyName, this.#channelName];
    void letGo(this.#surroundings, names, unread === undefined ? [] : [unread]);
  }

  /** The keeper's name of the notify socket. */
  get #notifyName(): string {
    return `notify/${this.#plan.generation}/${this.id}`;
  }

  /** The keeper's name of the channel. */
  get #channelName(): string {
    return `channel/${this.#plan.generation}/${this.id}`;
  }

  get #notifyPath(): string {
    const { external, generation, notifyFolder } = this.#plan;
    return join((external ?? { notifyFolder }).notifyFolder, `${generation.replace("/", ".")}.${this.id}`);
  }
}
