/**
 * The whole terminal for as long as it is needed: the other screen, without a cursor, keys without Enter. It is given
 * back however the process ends, but for SIGKILL.
 */

const OTHER_SCREEN = "\u001b[?1049h\u001b[?25l\u001b[?7l";
const BACK = "\u001b[?7h\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const ERASE_LINE = "\u001b[K";
const ERASE_BELOW = "\u001b[J";

interface Terminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
}

export class FullScreen implements Disposable {
  readonly #terminal: Terminal;
  readonly #onKey: (key: Buffer) => void;
  readonly #onExit = (): void => void this.#terminal.output.write(BACK);

  /** `leave` is called when someone presses q or Ctrl-C, or the process is told to end. */
  constructor(terminal: Terminal, leave: () => void) {
    this.#terminal = terminal;
    this.#onKey = (key) => {
      // In raw mode Ctrl-C is a key and not a signal.
      if (["q", "Q", "\u0003", "\u0004"].includes(key.toString("latin1"))) leave();
    };
    const { input, output } = terminal;
    output.write(OTHER_SCREEN);
    process.once("exit", this.#onExit);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, leave);
    if (input.isTTY) {
      input.setRawMode(true);
      input.on("data", this.#onKey);
    }
  }

  get rows(): number {
    return this.#terminal.output.rows;
  }

  /** Over what was there, so that nothing flickers. */
  draw(lines: readonly string[]): void {
    const text = lines.map((line) => line + ERASE_LINE).join("\r\n");
    this.#terminal.output.write(HOME + text + ERASE_BELOW);
  }

  [Symbol.dispose](): void {
    const { input } = this.#terminal;
    if (input.isTTY) {
      input.off("data", this.#onKey);
      input.setRawMode(false);
      input.pause();
    }
    process.off("exit", this.#onExit);
    this.#onExit();
  }
}
