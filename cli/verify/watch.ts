/**
 * Looks at the application's processes from outside while it starts, serves and ends: what no client and no event of the daemon tells.
 * /proc gives no events, so it is looked at.
 */
import { existsSync } from "node:fs";
import type { Client } from "../../admin-api/client.ts";
import type { Generation } from "../../admin-api/schemas.ts";
import { pause } from "../../daemon/generation/ending.ts";
import { familyOf } from "../../daemon/proc.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import type { Where } from "./ask.ts";
import type { Leftover, SocketUse } from "./observations.ts";
import { descriptorCount, isAlive, type Known, known } from "./processes.ts";
import { listening, socketUse } from "./sockets.ts";

const LOOK_MS = 100;

export interface WatchOptions {
  readonly client: Client;
  readonly service: string;
  readonly places: readonly Where[];
  /** Where the unix sockets are. */
  readonly folder: string;
}

interface Member extends Known {
  readonly generation: number;
  /** And not something that came of one. */
  readonly isInstance: boolean;
}

export class Watch {
  readonly #options: WatchOptions;
  readonly #stopping = new AbortController();
  /** By pid and start time: who has been seen, and of which generation. */
  readonly #family = new Map<string, Member>();
  readonly #sockets = new Map<number, SocketUse>();
  readonly #missing = new Set<string>();
  /** How often in a row a generation was seen draining without an instance, and with something that came of one. */
  readonly #childrenOnly = new Map<number, number>();
  #living: ReadonlySet<number> = new Set();
  #ended: Promise<void> = Promise.resolve();

  private constructor(options: WatchOptions) {
    this.#options = options;
  }

  static start(options: WatchOptions): Watch {
    const watch = new Watch(options);
    watch.#ended = watch.#look();
    watch.#ended.catch(() => undefined); // Whoever stops it has the error.
    return watch;
  }

  /** The last look at each generation before it was ready. */
  get sockets(): readonly SocketUse[] {
    return [...this.#sockets.values()];
  }

  get missingPaths(): readonly string[] {
    return [...this.#missing];
  }

  /** Processes that have outlived their generation. */
  get leftovers(): readonly Leftover[] {
    return [...this.#family.values()]
      .filter((each) => !this.#living.has(each.generation) && isAlive(each))
      .map(({ pid, command, generation }) => ({ pid, command, generation }));
  }

  /** Whether the generation's instances had ended and only children of theirs ran when it was last seen draining. */
  hadOnlyChildren(generation: number): boolean {
    // Once may be an instance and its children that have just been killed together.
    return (this.#childrenOnly.get(generation) ?? 0) > 1;
  }

  /** Descriptors that the generation's processes have open. */
  descriptorsOf(generation: number): number {
    return this.#alive(generation).reduce((sum, { pid }) => sum + descriptorCount(pid), 0);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
  }

  async #look(): Promise<void> {
    const { client, service } = this.#options;
    while (!this.#stopping.signal.aborted) {
      try {
        const { generations } = await client.service(service);
        this.#note(generations);
      } catch (error) {
        // A look that was missed. Whoever waits for the daemon notices when it is gone, and says so.
        if (!(error instanceof CodedError)) throw error;
      }
      await pause(LOOK_MS, this.#stopping.signal);
    }
  }

  #note(generations: readonly Generation[]): void {
    const { places, folder } = this.#options;
    this.#living = new Set(
      generations
        .filter(({ state }) => state !== "stopped" && state !== "failed")
        .map(({ number }) => number),
    );
    for (const { number, state, instances } of generations) {
      const pids = instances.flatMap(({ pid }) => pid ?? []);
      this.#noteFamily(number, pids);
      if (state === "draining") this.#noteDraining(number);
      if ((state === "starting" || state === "standby") && pids.length > 0) {
        this.#sockets.set(number, socketUse(number, pids, listening(places, folder)));
      }
    }
    if (generations.length > 0) this.#notePaths();
  }

  #noteFamily(generation: number, pids: readonly number[]): void {
    for (const each of known(pids.flatMap((pid) => familyOf(pid)))) {
      const key = `${each.pid} ${each.startTime}`;
      if (!this.#family.has(key)) {
        this.#family.set(key, { ...each, generation, isInstance: pids.includes(each.pid) });
      }
    }
  }

  #noteDraining(generation: number): void {
    const alive = this.#alive(generation);
    if (alive.length === 0) return;
    const times = alive.some(({ isInstance }) => isInstance)
      ? 0
      : (this.#childrenOnly.get(generation) ?? 0) + 1;
    this.#childrenOnly.set(generation, times);
  }

  #alive(generation: number): readonly Member[] {
    return [...this.#family.values()].filter((each) => each.generation === generation && isAlive(each));
  }

  #notePaths(): void {
    for (const place of this.#options.places) {
      if ("path" in place && !place.path.startsWith("\0") && !existsSync(place.path)) {
        this.#missing.add(place.path);
      }
    }
  }
}
