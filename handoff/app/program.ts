/** This process as a program that is served: what it was given, what it serves, and how it ends. One a process. */
import { isatty } from "node:tty";
import type { Adapter } from "./adapter.ts";
import { Drain, type DrainCallback } from "./drain.ts";
import { type Inherited, type Surroundings, takeSurroundings } from "./environment.ts";
import { Moves, type MoveCounts } from "./moves.ts";
import { whyNothingMoves } from "./private.ts";
import { messageOf } from "../coded-error.ts";
import { addonProblem, native, SO } from "../native.ts";
import { Notifier } from "../service-manager.ts";

/** Where nobody says otherwise: as long as docs/configuration.md gives a drain. */
const DRAIN_TIMEOUT_MS = 30_000;
const NOTIFY_MS = 5000;

export interface ProgramOptions {
  /** How long a drain may take where nobody supervises this process. */
  drainTimeoutMs?: number | undefined;
  /** Whether the process ends itself when it has drained. Default: it does. */
  exit?: boolean | undefined;
}

export class Program {
  readonly #surroundings: Surroundings;
  readonly #notifier: Notifier | null;
  readonly #adapters: Adapter[] = [];
  readonly #drain: Drain;
  readonly #used = new Set<number>();
  readonly #finishes: (() => Promise<void>)[] = [];
  #moves: Promise<Moves> | null = null;
  #made: Moves | null = null;
  #isAttending = false;
  readonly #options: ProgramOptions = {};
  #last: Promise<unknown> = Promise.resolve();

  constructor(environment: NodeJS.ProcessEnv, pid: number) {
    this.#surroundings = takeSurroundings(environment, pid);
    this.#notifier = Notifier.find(environment);
    this.#drain = new Drain(this.#adapters, (what) => this.complain(what));
  }

  /** From here on a signal begins the drain, and its end is the process's: who only asks what was given has an end of its own. */
  attend(): void {
    if (this.#isAttending) return;
    this.#isAttending = true;
    this.#listenToSignals();
  }

  get listeners(): readonly Inherited[] {
    return this.#surroundings.inherited.filter(({ fd }) => isListening(fd));
  }

  get stored(): readonly Inherited[] {
    return this.#surroundings.inherited.filter(({ fd }) => !isListening(fd));
  }

  get counts(): MoveCounts {
    const nothing = { leaving: 0, taken: 0, given: 0, returned: 0, broken: 0 };
    return this.#made?.counts ?? { off: "nothing is served yet", ...nothing };
  }

  /** What is undefined stays as it was said before. */
  configure({ drainTimeoutMs, exit }: ProgramOptions): void {
    if (drainTimeoutMs !== undefined) this.#options.drainTimeoutMs = drainTimeoutMs;
    if (exit !== undefined) this.#options.exit = exit;
  }

  /** The inherited listening socket of that name, or the first that nobody serves; null: there is none. It is served from here on. */
  claim(name: string | undefined): Inherited | null {
    const free = this.listeners.filter((each) => !this.#used.has(each.fd));
    const found = name === undefined ? free[0] : free.find((each) => each.name === name);
    if (found !== undefined) this.#used.add(found.fd);
    return found ?? null;
  }

  /** Whether connections can move at all; tried once. */
  async canMove(): Promise<boolean> {
    return (await this.moves()).counts.off === null;
  }

  moves(): Promise<Moves> {
    this.#moves ??= this.#makeMoves();
    return this.#moves;
  }

  async #makeMoves(): Promise<Moves> {
    const { channel, channelProblem } = this.#surroundings;
    const off = channel === null ? channelProblem : await whyNothingMoves();
    this.#made = new Moves(
      channel,
      off,
      this.#adapters,
      (what) => this.complain(what),
      () => this.#drain.changed(),
    );
    if (off !== null) {
      this.complain(`connections are not moved to the next generation, they drain: ${off}`);
      this.status(`connections do not move: ${off}`);
    }
    return this.#made;
  }

  /** `finish` is called when the last connection has gone. */
  async add(adapters: readonly Adapter[], finish: () => Promise<void>): Promise<void> {
    const moves = await this.moves();
    this.#drain.join(adapters);
    this.#finishes.push(finish);
    moves.hello();
  }

  onDrain(callback: DrainCallback): void {
    this.attend();
    this.#drain.onDrain(callback);
  }

  ready(): Promise<void> {
    return this.notify("READY=1");
  }

  status(text: string): void {
    void this.notify(`STATUS=${text.replaceAll("\n", " ")}`);
  }

  extend(ms: number): void {
    this.#drain.extend(ms);
    void this.notify(`EXTEND_TIMEOUT_USEC=${Math.round(ms * 1000)}`);
  }

  /** In order. Resolves when it was sent, or when nobody wants to know; a manager that cannot be told is complained of. */
  notify(state: string, descriptors: readonly number[] = []): Promise<void> {
    const notifier = this.#notifier;
    if (notifier === null) return Promise.resolve();
    const sent = this.#last.then(() => notifier.send(state, descriptors, NOTIFY_MS));
    this.#last = sent.catch((error: unknown) => {
      const what = state.split("\n")[0] ?? "";
      this.complain(`${what} could not be said to NOTIFY_SOCKET: ${addonProblem ?? messageOf(error)}`);
    });
    return this.#last.then(() => undefined);
  }

  #listenToSignals(): void {
    const { drainSignal } = this.#surroundings;
    for (const signal of new Set<NodeJS.Signals>([drainSignal, "SIGTERM", "SIGINT"])) {
      process.on(signal, () => {
        // Whoever presses Ctrl-C twice means it.
        if (this.#drain.state !== "serving" && signal === "SIGINT" && isatty(0)) process.exit(130);
        void this.#begin();
      });
    }
  }

  async #begin(): Promise<void> {
    // Without a wait in the usual case: what is sent before the signal is heard in the same turn.
    const moves = this.#made ?? (await this.moves());
    if (this.#drain.state !== "serving") return;
    const { supervised, drainTimeoutMs } = this.#surroundings;
    const own = this.#options.drainTimeoutMs ?? DRAIN_TIMEOUT_MS;
    const timeoutMs = drainTimeoutMs ?? (supervised ? Infinity : own);
    void this.notify("STOPPING=1");
    this.#drain.begin(moves, { timeoutMs, supervised }, (left) => void this.#end(moves, left));
  }

  async #end(moves: Moves, left: number): Promise<void> {
    if (left > 0) this.complain(`${left} connections were still open when the time to drain was over`);
    moves.end();
    for (const finish of this.#finishes) await finish();
    await this.#last;
    if (this.#options.exit !== false) process.exit();
  }

  /** One line on standard error. */
  complain(what: string): void {
    process.stderr.write(`handoffd/app: ${what}\n`);
  }
}

function isListening(fd: number): boolean {
  // Without the addon it cannot be asked; nothing was stored then either.
  if (addonProblem !== null) return true;
  try {
    return native.getOption(fd, SO.SOL_SOCKET, SO.SO_ACCEPTCONN) === 1;
  } catch {
    return false; // ENOTSOCK, or the application has closed it.
  }
}
