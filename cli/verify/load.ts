/** The clients of one listener, of all kinds at a time. */
import { pause } from "../../daemon/generation/ending.ts";
import type { Where } from "./ask.ts";
import { call } from "./caller.ts";
import type { ListenerFacts, LoadName } from "./observations.ts";
import type { Tally } from "./tally.ts";
import { Visitor } from "./visitor.ts";

const BETWEEN_CALLS_MS = 20;

export interface LoadOptions {
  /** Of kept connections that are used, and of those that rest; of the others a quarter. */
  readonly connections: number;
  /** What takes longer is late. */
  readonly lateMs: number;
  /** What takes longer is not answered. */
  readonly answerMs: number;
}

export class Load {
  readonly #facts: ListenerFacts;
  readonly #where: Where;
  readonly #tally: Tally;
  readonly #options: LoadOptions;
  readonly #visitors: Visitor[] = [];
  /** Those of them that `round` waits for. */
  readonly #regular: Visitor[] = [];
  readonly #stopping = new AbortController();
  #calls: readonly Promise<void>[] = [];

  private constructor(facts: ListenerFacts, where: Where, tally: Tally, options: LoadOptions) {
    this.#facts = facts;
    this.#where = where;
    this.#tally = tally;
    this.#options = options;
  }

  static start(facts: ListenerFacts, where: Where, tally: Tally, options: LoadOptions): Load {
    const load = new Load(facts, where, tally, options);
    const few = Math.max(1, Math.ceil(options.connections / 4));
    if (facts.speaks === "unknown") {
      load.#calls = Array.from({ length: few }, () => load.#call());
      return load;
    }
    load.#add("new", few, facts.path);
    if (facts.keepsConnections) {
      load.#add("keep-alive", options.connections, facts.path);
      load.#add("idle", options.connections, facts.path);
    }
    if (facts.streamPath !== null) load.#add("streaming", few, facts.streamPath);
    return load;
  }

  /** Each client but those with a long answer asks once more, those that rest too, and has its answer. */
  async round(): Promise<void> {
    await Promise.all(this.#regular.map((visitor) => visitor.next()));
  }

  /** Begins nothing any more and lets what is under way end, for `patienceMs` at most. */
  async stop(patienceMs: number): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#visitors.map((visitor) => visitor.stop(patienceMs)), ...this.#calls]);
  }

  #add(load: LoadName, clients: number, path: string): void {
    const { name, status } = this.#facts;
    const { answerMs, lateMs } = this.#options;
    const expected = load === "streaming" ? null : status;
    for (let client = 0; client < clients; client++) {
      const visitor = Visitor.start(
        { where: this.#where, path, load, answerMs },
        {
          onAsked: (asked) => this.#tally.asked(name, load, asked, lateMs, expected),
          onOpen: () => this.#tally.opened(name, load),
          onIdleClose: (at, openedAt) => this.#tally.idleCloses.push({ listener: name, at, openedAt }),
        },
      );
      this.#visitors.push(visitor);
      if (load !== "streaming") this.#regular.push(visitor);
    }
  }

  async #call(): Promise<void> {
    const { name: listener } = this.#facts;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const { lost, code, startedAt, endedAt, connectMs } = await call(this.#where, signal);
      this.#tally.called(listener, connectMs);
      if (lost !== null) {
        this.#tally.lost({ listener, load: "connect", kind: lost, at: endedAt, openedAt: startedAt, code });
      }
      await pause(BETWEEN_CALLS_MS, signal);
    }
  }
}
