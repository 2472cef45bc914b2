/**
 * Who holds the sockets beside the daemon: systemd's fdstore where it is offered, else handoff-keeper. One of them holds everything.
 * When it cannot go on (the process has died, the store is full) handoff-keeper is given everything anew.
 */
import { join } from "node:path";
import type { Logger } from "pino";
import type { EventDraft } from "../../admin-api/events.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";
import { FdStore } from "../../handoff/fdstore.ts";
import { type Keeper, KeeperProcess, NO_KEEPER } from "../../handoff/keeper.ts";
import { pause } from "../generation/ending.ts";

const RETRY_MS = 1_000;

export interface KeepingOptions {
  readonly keeper: "auto" | "off";
  /** Absolute: where handoff-keeper listens. */
  readonly runtime: string;
  /** /dev/null, open for reading and writing. */
  readonly devNull: number;
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Logger;
  readonly say: (event: EventDraft, level: "warn" | "error") => void;
  /** Puts everything that has to be held; to a keeper that holds nothing yet. */
  readonly keepAll: () => Promise<void>;
  /** What else systemd's store has: the daemon's own sockets. */
  readonly own: readonly string[];
}

export class Keeping implements Keeper {
  readonly #options: KeepingOptions;
  #keeper: Keeper = NO_KEEPER;
  #process: KeeperProcess | null = null;
  #fallingBack: Promise<void> | null = null;
  #isOver = false;

  private constructor(options: KeepingOptions) {
    this.#options = options;
  }

  /**
   * Finds the keeper and all that was kept: `given` by systemd's store, and by a handoff-keeper that lives. What is returned in `kept`
   * is the caller's, and held by the keeper already, where it was not systemd's and systemd's is used now, by both. After an
   * exec in place `given` is everything, and `before` what its keeper was.
   */
  static async open(
    options: KeepingOptions,
    given: Map<string, Descriptor>,
    before: Pick<Keeping, "stored"> | null = null,
  ): Promise<{ readonly keeping: Keeping; readonly kept: Map<string, Descriptor> }> {
    const keeping = new Keeping(options);
    if (options.keeper === "off") return { keeping, kept: given };
    if (before !== null) {
      await keeping.#goOn(given, before.stored);
      return { keeping, kept: given };
    }
    const store = FdStore.find(options.environment, [...given.keys(), ...options.own]);
    const old = KeeperProcess.connect(keeping.#path);
    const kept = old === null ? given : merge(await old.list(), given);
    if (store !== null && kept.size <= store.max) {
      keeping.#keeper = store;
      await keeping.#giveAll(kept, (name) => !given.has(name) || old !== null);
      await old?.release();
      return { keeping, kept };
    }
    keeping.#use(old ?? keeping.#start());
    await keeping.#giveAll(kept, (name) => given.has(name));
    await store?.release();
    return { keeping, kept };
  }

  /** The keeper's own process; null where there is none. */
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  /** "systemd" decides itself what becomes of the sockets when the daemon has ended. */
  get kind(): "systemd" | "process" | "none" {
    if (this.#keeper instanceof FdStore) return "systemd";
    return this.#process === null ? "none" : "process";
  }

  /** The names that systemd's store has, which cannot be asked for them; null where it is not used. */
  get stored(): readonly string[] | null {
    return this.#keeper instanceof FdStore ? [...this.#keeper.held] : null;
  }

  /** Returns when systemd has done what it was told so far. */
  async settled(): Promise<void> {
    if (this.#keeper instanceof FdStore) await this.#keeper.remove([]);
  }

  async put(name: string, fd: number): Promise<void> {
    try {
      await this.#keeper.put(name, fd);
    } catch (error) {
      if (!hasCode(error, "KEEPER_FULL") || !(this.#keeper instanceof FdStore)) throw error;
      const store = this.#keeper;
      this.#fallingBack ??= this.#fallBack(store, error).finally(() => (this.#fallingBack = null));
      await this.#fallingBack;
      await this.#keeper.put(name, fd);
    }
  }

  /**
   * The daemon's own sockets, where their holder is who starts the next daemon too: clients wait for that one. Without room, or without
   * an answer, they are refused meanwhile, as where handoff-keeper is used.
   */
  async keepOwn(sockets: ReadonlyMap<string, number>): Promise<void> {
    const store = this.#keeper;
    if (!(store instanceof FdStore)) return;
    try {
      for (const [name, fd] of sockets) await store.put(name, fd);
    } catch (error) {
      this.#options.log.warn({ err: error }, "the admin sockets are not held outside the daemon");
    }
  }

  /** No other daemon follows: clients are to be refused. */
  async letGoOfOwn(names: Iterable<string>): Promise<void> {
    const store = this.#keeper;
    if (!(store instanceof FdStore)) return;
    try {
      await store.remove([...names]);
    } catch (error) {
      this.#options.log.warn({ err: error }, "the admin sockets are held on");
    }
  }

  remove(names: readonly string[]): Promise<void> {
    return this.#keeper.remove(names);
  }

  list(): Promise<Map<string, Descriptor>> {
    return this.#keeper.list();
  }

  release(): Promise<void> {
    this.#isOver = true;
    return this.#keeper.release();
  }

  close(): void {
    this.#isOver = true;
    this.#keeper.close();
  }

  get #path(): string {
    return join(this.#options.runtime, "keeper.sock");
  }

  /** Whoever held everything holds it still. */
  async #goOn(kept: ReadonlyMap<string, Descriptor>, stored: readonly string[] | null): Promise<void> {
    const { environment } = this.#options;
    const store = stored === null ? null : FdStore.find(environment, stored);
    if (store !== null) {
      this.#keeper = store;
      return;
    }
    const old = KeeperProcess.connect(this.#path);
    this.#use(old ?? this.#start());
    // It has died within the moment of the upgrade.
    if (old === null) await this.#giveAll(kept, () => true);
  }

  #start(): KeeperProcess {
    return KeeperProcess.start(this.#path, [this.#options.devNull, 1, 2]);
  }

  #use(keeper: KeeperProcess): void {
    this.#keeper = keeper;
    this.#process = keeper;
    keeper.watch(() => {
      if (!this.#isOver) void this.#replace(keeper);
    });
  }

  async #giveAll(kept: ReadonlyMap<string, Descriptor>, isWanted: (name: string) => boolean): Promise<void> {
    for (const [name, { fd }] of kept) if (isWanted(name)) await this.#keeper.put(name, fd);
  }

  /** The store lets go of everything only when another one holds it. */
  async #fallBack(store: FdStore, why: unknown): Promise<void> {
    this.#options.say(
      {
        type: "keeper.full",
        code: "KEEPER_FULL",
        message: `${why instanceof Error ? why.message : String(why)}; handoff-keeper is given everything instead`,
      },
      "warn",
    );
    this.#use(this.#start());
    await this.#options.keepAll();
    await store.release();
  }

  /** The keeper has died, or does not answer: another one gets everything again, and then the old one ends for certain. */
  async #replace(old: KeeperProcess): Promise<void> {
    this.#options.say(
      {
        type: "keeper.lost",
        message: "the keeper has ended or does not answer; another one is given every slot",
      },
      "error",
    );
    while (!this.#isOver) {
      try {
        this.#use(this.#start());
        await this.#options.keepAll();
        break;
      } catch (error) {
        this.#options.log.error({ err: error }, "slots are not held outside the daemon; trying again");
        await pause(RETRY_MS);
      }
    }
    old.kill();
  }
}

/** Of one name in both the first counts: handoff-keeper was in use last where there is one. */
function merge(first: Map<string, Descriptor>, second: Map<string, Descriptor>): Map<string, Descriptor> {
  for (const [name, descriptor] of second) {
    if (first.has(name)) descriptor.close();
    else first.set(name, descriptor);
  }
  return first;
}
