/**
 * Keeps the state up to date: a stream of events, and the status and the deploys whenever one says that they may have
 * changed. The status is also asked for by the clock, since queues and connections change without an event.
 *
 *   connect ─▶ caller? ─▶ status, deploys ─▶ stream ──▶ live
 *      ▲          │401                          │ lost, or never there
 *      │          ▼                             ▼
 *      │        locked                    answers ─▶ polling ─┐
 *      └───────── backoff ◀── silent ─▶ lost ◀────────────────┘
 *
 * It ends when its signal is aborted: a token that is changed begins another one.
 */
import type { Caller, DeployList, Event, Status } from "../schemas.ts";
import { type Api, Refusal } from "./api.ts";
import type { Action } from "./state.ts";
import { readStream } from "./stream.ts";

const STATUS_EVERY_MS = 1_000;
/** Events come in bursts. */
const LEAST_GAP_MS = 100;
/** Three heart-beats of the server: after so much silence the other end is gone. */
const SILENCE_MS = 45_000;
const BACKOFF_MS = { first: 250, most: 4_000 };

export interface LiveOptions {
  readonly api: Api;
  readonly dispatch: (action: Action) => void;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A page that nobody sees asks for nothing by the clock. */
  readonly isVisible: () => boolean;
}

export class Live {
  readonly #options: LiveOptions;
  #lastEvent = 0;
  #isStreaming = false;
  #failures = 0;
  /** Ends a wait before its time. */
  #wake: () => void = () => undefined;
  #isDue = false;
  #isNew = true;
  #haveDeploysChanged = false;

  constructor(options: LiveOptions) {
    this.#options = options;
  }

  /** Resolves when the signal is aborted, or when someone must sign in. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    void this.#follow();
    while (!signal.aborted) {
      const isLocked = await this.#look();
      if (isLocked) return;
      await this.#wait(this.#failures > 0 ? this.#backoffMs() : STATUS_EVERY_MS);
    }
  }

  /** Looks at once: someone has changed something, or the page is seen again. */
  refresh(): void {
    this.#isDue = true;
    this.#wake();
  }

  /** Returns whether someone must say who asks. */
  async #look(): Promise<boolean> {
    const { api, dispatch, signal, now, isVisible } = this.#options;
    if (!isVisible() && !this.#isDue) return false;
    this.#isDue = false;
    try {
      if (this.#isNew)
        dispatch({ type: "caller", caller: (await api.get<Caller>("v1/caller", signal)).body });
      const { body: status, serverMs } = await api.get<Status>("v1/status", signal);
      dispatch({ type: "status", status, nowMs: now(), serverMs });
      if (this.#isNew || this.#haveDeploysChanged) {
        this.#haveDeploysChanged = false;
        const { body: page } = await api.get<DeployList>("v1/deploys?limit=20", signal);
        dispatch({ type: "deploys", page, isOlder: false });
      }
      this.#isNew = false;
      this.#failures = 0;
      this.#say();
      return false;
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): boolean {
    const { dispatch, signal, now } = this.#options;
    if (signal.aborted) return false;
    // 421: through a proxy, whose name for this host counts only with a token.
    if (error instanceof Refusal && [401, 403, 421].includes(error.status)) {
      dispatch({
        type: "locked",
        why: error.status === 401 && error.code === "NOT_AUTHENTICATED" ? null : error.message,
      });
      return true;
    }
    this.#failures += 1;
    // Whoever answers next may be another daemon, with another idea of who asks.
    this.#isNew = true;
    const why = error instanceof Refusal ? error.message : "no answer";
    dispatch({ type: "link", link: { kind: "lost", why }, nowMs: now() });
    return false;
  }

  #say(): void {
    const { dispatch, now } = this.#options;
    dispatch({ type: "link", link: { kind: this.#isStreaming ? "live" : "polling" }, nowMs: now() });
  }

  /** The stream, again and again. What it says is worth a look; that it ended is, too: the daemon may be another one now. */
  async #follow(): Promise<void> {
    const { signal } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const began = this.#lastEvent;
      try {
        await this.#readOnce();
      } catch {
        // What it means is found out by the next look, which this asks for.
      }
      this.#isStreaming = false;
      this.refresh();
      failures = this.#lastEvent > began ? 0 : failures + 1;
      await pause(Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** failures), signal);
    }
  }

  async #readOnce(): Promise<void> {
    const { api, dispatch, signal } = this.#options;
    const silence = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const alive = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    alive();
    try {
      const body = await api.follow(this.#lastEvent, AbortSignal.any([signal, silence.signal]));
      this.#isStreaming = true;
      this.refresh();
      for await (const { event, data } of readStream(body, alive)) {
        if (event === "gap" || event === "end") continue;
        const happened = JSON.parse(data) as Event;
        this.#lastEvent = happened.id;
        dispatch({ type: "event", event: happened });
        if (happened.deploy !== undefined) this.#haveDeploysChanged = true;
        this.refresh();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #backoffMs(): number {
    return Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.#failures);
  }

  /** For `ms`, or for a moment when something is due. */
  async #wait(ms: number): Promise<void> {
    const { signal } = this.#options;
    if (!this.#isDue) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
        signal.addEventListener("abort", this.#wake, { once: true });
      });
      signal.removeEventListener("abort", this.#wake);
      this.#wake = () => undefined;
    }
    if (this.#isDue) await pause(LEAST_GAP_MS, signal);
  }
}

/** Ends early, without an error, when the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
