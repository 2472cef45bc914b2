/**
 * Descriptors that an application keeps with the daemon, as with systemd (FDSTORE=1, sd_notify(3)): every process that is started in its
 * generation gets them behind the listeners, and the next generation begins with what this one has by then.
 *
 *   generation 3 [cache, job]  ── a deploy begins ──▶  generation 4 [cache, job]
 *        │ stores, removes                                  │ stores, removes: its own only
 *        ▼                                                  ▼
 *   a failed deploy, or a rollback, changes nothing here    the next one inherits from whichever is current
 *
 * Each generation has its own set, so that what a candidate has stored goes with it. All are duplicates of one open file. The keeper
 * holds them under store/SERVICE/GENERATION/ID, and the snapshot says what they are called; a descriptor is held there before it is
 * written down, and before the application is told (BARRIER=1).
 */
import type { Reason } from "../../deploy/deployment.ts";
import { messageOf } from "../../handoff/coded-error.ts";
import { Descriptor, takeFrom } from "../../handoff/descriptor.ts";
import type { Offer } from "../../handoff/grant.ts";
import { native } from "../../handoff/native.ts";
import type { StoreRequest } from "../../handoff/notify.ts";
import type { ServiceConfig } from "../config/config.ts";
import { letGo } from "../sockets/let-go.ts";
import type { Surroundings } from "../surroundings.ts";

/** One of them in the snapshot. */
export interface StoredRecord {
  /** In the keeper's name; never used twice within its generation. */
  readonly id: number;
  /** In LISTEN_FDNAMES; several may have the same. */
  readonly name: string;
  /** Whether it goes when it hangs up. */
  readonly isPolled: boolean;
}

interface Stored extends StoredRecord {
  readonly descriptor: Descriptor;
}

/** All of it in the snapshot. */
export interface StoreRecord {
  /** The generation whose descriptors it begins with, when its first process is started; null: it has begun, or with nothing. */
  readonly heirOf: number | null;
  readonly all: readonly StoredRecord[];
}

/** The generation. */
interface Owner {
  readonly number: number;
  readonly config: Pick<ServiceConfig, "name" | "fdstore">;
}

export interface StoreHooks {
  /** Of another generation of the service, which may have ended; null: it is not known any more. */
  readonly storeOf: (generation: number) => ApplicationStore | null;
  /** Writes `record` down. */
  readonly onChange: () => void;
}

export class ApplicationStore {
  readonly #owner: Owner;
  readonly #hooks: StoreHooks;
  readonly #surroundings: Pick<Surroundings, "keeper" | "say" | "log">;
  /** What is written down of those whose descriptors are not here yet. */
  readonly #known: readonly StoredRecord[];
  #heirOf: number | null;
  #all: Stored[] = [];
  #lastId: number;
  /** Given to the keeper, which has not answered yet: several instances may ask at once. */
  #coming = 0;
  #isOver = false;
  #beginning: Promise<void> | null = null;

  /** `store`: an earlier daemon's is complete after `resume`; undefined in a snapshot of an earlier version. */
  constructor(
    { store: record, ...owner }: Owner & { readonly store?: StoreRecord },
    hooks: StoreHooks,
    surroundings: Pick<Surroundings, "keeper" | "say" | "log">,
  ) {
    this.#owner = owner;
    this.#known = record?.all ?? [];
    this.#heirOf = record?.heirOf ?? null;
    this.#hooks = hooks;
    this.#surroundings = surroundings;
    this.#lastId = this.#known.reduce((last, { id }) => Math.max(last, id), 0);
  }

  get record(): StoreRecord {
    const all = this.#all.map(({ id, name, isPolled }) => ({ id, name, isPolled }));
    return { heirOf: this.#heirOf, all };
  }

  /** Whose it is still to inherit: that one's must not be closed before. */
  get heirOf(): number | null {
    return this.#heirOf;
  }

  /** For a process that is started now, in the order in which they were stored. They stay this object's. */
  get offers(): Offer[] {
    return this.#living.map(({ name, descriptor }) => ({ name, fd: descriptor.fd }));
  }

  /** By the keeper's names; they stay this object's. */
  get descriptors(): ReadonlyMap<string, number> {
    return new Map(this.#all.map(({ id, descriptor }) => [this.#keeperName(id), descriptor.fd]));
  }

  /** Takes what is its own out of `kept`. What the keeper has lost is lost: an application has it perhaps, or makes it anew. */
  resume(kept: Map<string, Descriptor>): void {
    for (const record of this.#known) {
      const descriptor = takeFrom(kept, this.#keeperName(record.id));
      if (descriptor !== null) this.#all.push({ ...record, descriptor });
    }
  }

  /** To be called before a process is started: the first time it begins with what the generation before has, as far as there is room. */
  begin(): Promise<void> {
    return (this.#beginning ??= this.#inherit());
  }

  async #inherit(): Promise<void> {
    if (this.#heirOf === null) return;
    const before = this.#hooks.storeOf(this.#heirOf);
    const living = before === null ? [] : before.#living;
    for (const { name, isPolled, descriptor } of living.slice(0, this.#max)) {
      using copy = descriptor.duplicate();
      await this.#add(name, isPolled, copy);
    }
    // Written down as one: a daemon that dies before inherits anew, and its keeper lets go of what no record names.
    this.#heirOf = null;
    this.#hooks.onChange();
  }

  /** What an instance has said. Never rejects: what cannot be kept is said, as an event with a code. */
  async handle(request: StoreRequest): Promise<void> {
    if (this.#isOver) return;
    if (request.do === "remove") {
      await this.#drop(({ name }) => name === request.name);
      return;
    }
    const refusal = this.#refusal(request);
    if (refusal !== null) this.#refuse(refusal);
    else
      for (const descriptor of request.descriptors) {
        if (this.#all.some((stored) => isSame(stored.descriptor, descriptor))) continue;
        if (this.#living.length + this.#coming >= this.#max) {
          this.#refuse({
            code: "STORE_FULL",
            message: `the descriptor "${request.name}" is not kept: ${this.#who} has ${this.#max} already; remove some (FDSTOREREMOVE=1), or raise fdstore.max`,
          });
          return;
        }
        this.#coming++;
        const isKept = await this.#add(request.name, request.isPolled, descriptor);
        this.#coming--;
        if (isKept) this.#hooks.onChange();
      }
  }

  /** Gives all of it to a new keeper. */
  async keep(): Promise<void> {
    for (const [name, fd] of this.descriptors) await this.#surroundings.keeper().put(name, fd);
  }

  /** The generation has ended, and nobody inherits from it any more. */
  close(): void {
    this.#isOver = true;
    void this.#letGo(this.#all);
    this.#all = [];
  }

  /** Takes `offered` when the keeper has it, and returns whether it does. */
  async #add(name: string, isPolled: boolean, offered: Descriptor): Promise<boolean> {
    const id = ++this.#lastId;
    try {
      await this.#surroundings.keeper().put(this.#keeperName(id), offered.fd);
    } catch (error) {
      const message = `the descriptor "${name}" of ${this.#who} is not kept: ${messageOf(error)}`;
      this.#refuse({ code: "STORE_FAILED", message });
      return false;
    }
    const stored = { id, name, isPolled, descriptor: new Descriptor(offered.take()) };
    // The generation may have ended while the keeper took it.
    if (this.#isOver) await this.#letGo([stored]);
    else this.#all.push(stored);
    return !this.#isOver;
  }

  /** Without those that have hung up: systemd's rule (FDPOLL=, sd_notify(3)), looked at when it matters instead of all the time. */
  get #living(): readonly Stored[] {
    void this.#drop(({ isPolled, descriptor }) => isPolled && native.isHungUp(descriptor.fd));
    return this.#all;
  }

  async #drop(isToGo: (stored: Stored) => boolean): Promise<void> {
    const going = this.#all.filter(isToGo);
    if (going.length === 0) return;
    this.#all = this.#all.filter((stored) => !going.includes(stored));
    const gone = this.#letGo(going);
    this.#hooks.onChange();
    await gone;
  }

  async #letGo(stored: readonly Stored[]): Promise<void> {
    if (stored.length === 0) return;
    const names = stored.map(({ id }) => this.#keeperName(id));
    const descriptors = stored.map(({ descriptor }) => descriptor);
    await letGo(this.#surroundings, names, descriptors);
  }

  #refusal({
    name,
    descriptors,
    isTruncated,
  }: Extract<StoreRequest, { readonly do: "store" }>): Reason | null {
    if (this.#max === 0)
      return {
        code: "STORE_FULL",
        message: `${this.#who} may keep no descriptors; say how many by fdstore.max`,
      };
    if (!isName(name))
      return {
        code: "STORE_NAME_INVALID",
        message: `FDNAME=${JSON.stringify(name)} of ${this.#who} is no name: printable ASCII without ":", at most 255 characters`,
      };
    if (isTruncated)
      return {
        code: "STORE_FAILED",
        message: `descriptors named "${name}" of ${this.#who} did not arrive: the daemon is at its RLIMIT_NOFILE; raise LimitNOFILE=`,
      };
    if (descriptors.length === 0)
      return {
        code: "STORE_FAILED",
        message: `FDSTORE=1 of ${this.#who} came without a descriptor`,
      };
    return null;
  }

  #refuse(reason: Reason): void {
    const about = { service: this.#owner.config.name, generation: this.#owner.number };
    this.#surroundings.say({ type: "instance.not-stored", ...about, ...reason }, "warn");
  }

  get #who(): string {
    return `${this.#owner.config.name}/${this.#owner.number}`;
  }

  /** How many it may keep. */
  get #max(): number {
    return this.#owner.config.fdstore.max;
  }

  #keeperName(id: number): string {
    return `store/${this.#who}/${id}`;
  }
}

/** What systemd takes for one (fdname_is_valid, src/basic/fd-util.c). */
function isName(name: string): boolean {
  return /^[ -9;-~]{1,255}$/u.test(name);
}

/** Stored twice is stored once. Where the kernel does not say, it is taken for another one. */
function isSame(one: Descriptor, other: Descriptor): boolean {
  try {
    return native.isSameFile(one.fd, other.fd);
  } catch {
    return false;
  }
}
