/** The generations of one service, which of them has which role, and what is written down of all that. */
import type { Deployment } from "../../deploy/deployment.ts";
import { isEnding } from "../../deploy/fleet.ts";
import type { Hold } from "../../deploy/hold.ts";
import type { Listener } from "../../handoff/listener.ts";
import type { ApplicationStore } from "../generation/application-store.ts";
import type { Generation } from "../generation/generation.ts";
import type { ServiceRecord, SnapshotStore } from "../state/snapshot.ts";
import type { Surroundings } from "../surroundings.ts";

export type ServiceState = "starting" | "running" | "held" | "degraded" | "stopped";

/** What the service is to be, whoever runs. */
type Remembered = Pick<Roster, "lastNumber" | "version" | "hold" | "instances">;

export class Roster {
  readonly #service: string;
  readonly #store: SnapshotStore;
  readonly #deploys: () => readonly Deployment[];
  readonly #listeners: () => ReadonlyMap<string, Listener>;
  readonly #surroundings: Surroundings;
  readonly #generations = new Map<number, Generation>();
  /** Of those, ended ones from which another one is still to inherit: nobody sees them. */
  #bequeathing: ReadonlySet<number | null> = new Set();
  /** Who waits for the end of a generation. */
  readonly #endings = new Map<number, () => void>();
  current: number | null = null;
  candidate: number | null = null;
  previous: number | null = null;
  /** The number of the newest generation, that of a hold included. */
  lastNumber = 0;
  /** What a reboot starts. */
  version: string | null;
  hold: Hold | null = null;
  /** How many instances someone has asked for; null: as many as the configuration says. */
  instances: number | null = null;

  constructor(
    service: string,
    version: string | null,
    store: SnapshotStore,
    deploys: () => readonly Deployment[],
    listeners: () => ReadonlyMap<string, Listener>,
    surroundings: Surroundings,
  ) {
    this.#service = service;
    this.version = version;
    this.#store = store;
    this.#deploys = deploys;
    this.#listeners = listeners;
    this.#surroundings = surroundings;
  }

  get generations(): readonly Generation[] {
    return this.#known.filter(({ number }) => !this.#bequeathing.has(number));
  }

  /** What applications keep, those of ended generations included that others are to inherit from. */
  get stores(): readonly ApplicationStore[] {
    return this.#known.map(({ store }) => store);
  }

  get #known(): readonly Generation[] {
    return [...this.#generations.values()];
  }

  state(isDeploying: boolean): ServiceState {
    if (this.hold !== null) return "held";
    const current = this.find(this.current);
    if (current === null) return isDeploying ? "starting" : "stopped";
    const { ready, wanted } = current.view;
    return ready < wanted ? "degraded" : "running";
  }

  find(number: number | null): Generation | null {
    return number === null ? null : (this.#generations.get(number) ?? null);
  }

  /** Whether no other one serves. */
  isAlone(number: number): boolean {
    return !this.generations.some((each) => each.number !== number && each.state === "serving");
  }

  add(generation: Generation): void {
    this.#generations.set(generation.number, generation);
  }

  /** Resolves when it has ended. */
  over({ isOver, number }: Generation): Promise<void> {
    if (isOver) return Promise.resolve();
    return new Promise((resolve) => this.#endings.set(number, resolve));
  }

  /** Those that have ended, but for those that someone needs, or is to inherit from. */
  forgetEnded(isNeeded: (number: number) => boolean): void {
    const unneeded: number[] = [];
    for (const { isOver, number } of this.#known) {
      if (!isOver) continue;
      this.#endings.get(number)?.();
      this.#endings.delete(number);
      if (!isNeeded(number)) unneeded.push(number);
    }
    const heirs = this.#known.filter(({ isOver }) => !isOver).map(({ store }) => store.heirOf);
    this.#bequeathing = new Set(unneeded.filter((number) => heirs.includes(number)));
    for (const number of unneeded) {
      if (this.#bequeathing.has(number)) continue;
      this.#generations.get(number)?.store.close();
      this.#generations.delete(number);
    }
  }

  clear(): void {
    this.current = this.candidate = this.previous = this.hold = null;
    for (const store of this.stores) store.close();
    this.#generations.clear();
  }

  /** What outlives every process: for a start. */
  remember(record: ServiceRecord): void {
    this.lastNumber = record.lastNumber;
    this.version = record.version ?? this.version;
    this.instances = record.instances ?? null;
  }

  /** What outlives the daemon: for a recovery. */
  resume({ current, candidate, previous, hold }: ServiceRecord): void {
    this.current = current;
    this.candidate = candidate;
    this.previous = previous;
    this.hold = hold ?? null;
  }

  /** The generation `to` has this share now, `from` the rest. */
  shift(from: number | null, to: number, share: number): void {
    const isCurrent = share === 1 && this.find(to)?.wasReady === true;
    const before = this.find(from);
    this.candidate = isCurrent ? null : to;
    if (isCurrent) this.current = to;
    // Connections wait for one that has not come up yet: what served before is current until it is told to end.
    else this.current = share === 1 && (before === null || isEnding(before)) ? null : from;
    this.previous = isCurrent ? from : null;
  }

  /** A candidate for which all connections waited has come up. */
  review(): void {
    const candidate = this.find(this.candidate);
    if (candidate?.weight === 1 && candidate.wasReady && !isEnding(candidate))
      this.shift(this.current, candidate.number, 1);
  }

  /** It has no role any more. */
  release(number: number | null): void {
    if (this.current === number) this.current = null;
    if (this.candidate === number) this.candidate = null;
    if (this.previous === number) this.previous = null;
  }

  /** Changes this and has it written, or, when that throws, neither. Returns what `write` does. */
  commit<Result>(change: Partial<Remembered>, write: () => Result): Result {
    const { lastNumber, version, hold, instances } = this;
    Object.assign(this, change);
    try {
      return write();
    } catch (error) {
      Object.assign(this, { lastNumber, version, hold, instances });
      throw error;
    }
  }

  /** Throws STATE_NOT_WRITTEN. "lasting": on the disk when it returns. */
  write(file: "lasting" | "as-needed" = "as-needed"): void {
    this.#store.write(this.#record, file);
  }

  get #record(): ServiceRecord {
    return {
      service: this.#service,
      lastNumber: this.lastNumber,
      version: this.version,
      current: this.current,
      candidate: this.candidate,
      previous: this.previous,
      hold: this.hold,
      instances: this.instances,
      waiting: this.#waiting,
      deploys: this.#deploys(),
      generations: this.#known.map(({ record }) => record),
    };
  }

  /** By listener, the slot that has all weight and that no generation has. */
  get #waiting(): Record<string, number> {
    return Object.fromEntries(
      [...this.#listeners()].flatMap(([name, { shares, slots }]) => {
        const all = shares.find(({ share }) => share === 1)?.slot;
        return all !== undefined && slots[all]?.owner === null ? [[name, all]] : [];
      }),
    );
  }

  persist(): void {
    try {
      this.write();
    } catch (error) {
      this.#surroundings.log.error({ err: error, service: this.#service }, "the state cannot be written");
    }
  }
}
