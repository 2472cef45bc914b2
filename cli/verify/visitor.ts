/**
 * One client that comes again and again, in one of the ways that clients have. It never ends by itself, and it never comes as fast as it
 * could: lost requests are looked for, not throughput.
 *
 *   new         a connection for each request
 *   keep-alive  one connection, a request every now and then
 *   streaming   a connection for each long answer
 *   idle        one connection that rests between two calls of `next`
 */
import type { Duplex } from "node:stream";
import { pause } from "../../daemon/generation/ending.ts";
import { ask, type Asked, Connections, type Where } from "./ask.ts";
import type { LoadName } from "./observations.ts";

const THINK_MS = 20;
/** After a loss, so that a closed port is not asked a thousand times a second. */
const SHAKEN_MS = 50;

export interface Visit {
  readonly where: Where;
  readonly path: string;
  readonly load: LoadName;
  /** The longest silence that is waited for. */
  readonly answerMs: number;
}

export interface VisitorHooks {
  readonly onAsked: (asked: Asked) => void;
  readonly onOpen: () => void;
  /** The application has closed the connection between two requests. */
  readonly onIdleClose: (at: number, openedAt: number) => void;
}

interface Waiting {
  readonly after: number;
  readonly done: () => void;
}

export class Visitor {
  readonly #visit: Visit;
  readonly #hooks: VisitorHooks;
  readonly #connections: Connections;
  readonly #stopping = new AbortController();
  readonly #abandoning = new AbortController();
  /** Who waits for the end of a request that comes after the one of this number. */
  readonly #waiting = new Set<Waiting>();
  #requests = 0;
  #isBusy = false;
  /** The last answer said that the connection ends with it. */
  #isParting = false;
  #wake: AbortController | null = null;
  #ended: Promise<void> = Promise.resolve();

  private constructor(visit: Visit, hooks: VisitorHooks) {
    this.#visit = visit;
    this.#hooks = hooks;
    const isKept = visit.load === "keep-alive" || visit.load === "idle";
    this.#connections = new Connections(visit.where, isKept, (socket) => this.#opened(socket));
  }

  static start(visit: Visit, hooks: VisitorHooks): Visitor {
    const visitor = new Visitor(visit, hooks);
    visitor.#ended = visitor.#live();
    return visitor;
  }

  /** Resolves when a request that begins after now has ended; one that rests is woken for it. */
  next(): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.resolve();
    return new Promise((done) => {
      this.#waiting.add({ after: this.#requests, done });
      this.#wake?.abort();
    });
  }

  /** Begins nothing any more. What is under way has `patienceMs` to end, and does not count when it has not. */
  async stop(patienceMs: number): Promise<void> {
    this.#stopping.abort();
    this.#wake?.abort();
    const timer = setTimeout(() => this.#abandoning.abort(), patienceMs);
    await this.#ended;
    clearTimeout(timer);
  }

  async #live(): Promise<void> {
    const { path, answerMs, load } = this.#visit;
    while (!this.#stopping.signal.aborted) {
      this.#isBusy = true;
      this.#requests++;
      const asked = await ask(this.#connections, path, answerMs, this.#abandoning.signal);
      this.#isParting = !asked.isKept;
      this.#isBusy = false;
      this.#hooks.onAsked(asked);
      for (const waiting of this.#waiting) if (waiting.after < this.#requests) this.#done(waiting);
      if (load === "idle" && asked.fate === "answered") await this.#rest();
      else
        await pause(asked.fate === "answered" ? Math.random() * THINK_MS : SHAKEN_MS, this.#stopping.signal);
    }
    this.#connections.destroy();
    for (const waiting of this.#waiting) this.#done(waiting);
  }

  #done(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    waiting.done();
  }

  async #rest(): Promise<void> {
    if (this.#waiting.size > 0 || this.#stopping.signal.aborted) return;
    const wake = new AbortController();
    this.#wake = wake;
    await new Promise((resolve) => wake.signal.addEventListener("abort", resolve, { once: true }));
    this.#wake = null;
  }

  #opened(socket: Duplex): void {
    this.#hooks.onOpen();
    const openedAt = Date.now();
    socket.once("close", () => {
      if (this.#isBusy || this.#isParting || this.#stopping.signal.aborted) return;
      this.#hooks.onIdleClose(Date.now(), openedAt);
    });
  }
}
