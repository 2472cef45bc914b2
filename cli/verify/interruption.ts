/** Something asks this process to end, and it has things to end first. */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type Reason = (typeof SIGNALS)[number] | "SIGPIPE";

/** While it is in use no signal ends the process; the first aborts `signal`. Those that follow change nothing: the rest is bounded. */
export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #handlers = SIGNALS.map((name) => ({ name, handle: () => this.#interrupt(name) }));
  /** Nobody reads any more, as in `| head`: Node ignores SIGPIPE and has an error instead. */
  readonly #unread = (): void => this.#interrupt("SIGPIPE");
  #by: Reason | null = null;

  private constructor() {
    for (const { name, handle } of this.#handlers) process.on(name, handle);
    process.stdout.on("error", this.#unread);
  }

  static watch(): Interruption {
    return new Interruption();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get by(): Reason | null {
    return this.#by;
  }

  [Symbol.dispose](): void {
    for (const { name, handle } of this.#handlers) process.off(name, handle);
  }

  #interrupt(by: Reason): void {
    this.#by ??= by;
    this.#controller.abort(new Error(`interrupted by ${by}`));
  }
}
