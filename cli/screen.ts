/**
 * The two output streams, and a few lines at the end that are drawn over again. What is written goes above them, whichever stream
 * it goes to, so that the scroll-back has everything that was said and nothing that was only drawn.
 *
 * Nothing is left behind by a process that is killed: the cursor stays visible, and lines that are too long are cut by
 * the terminal for the length of one write only.
 */
import { canMove, type Look, lookOf } from "./look.ts";

/** Control sequences (ECMA-48, DECAWM). */
const UP = "\u001b[A";
const ERASE_BELOW = "\r\u001b[J";
const NO_WRAP = "\u001b[?7l";
const WRAP = "\u001b[?7h";

export interface Streams {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly environment: NodeJS.ProcessEnv;
}

export class Screen {
  readonly #streams: Streams;
  #drawn: readonly string[] = [];

  constructor(streams: Streams) {
    this.#streams = streams;
  }

  /** As it is now: a terminal may be made wider. */
  get look(): Look {
    return lookOf(this.#streams.stdout, this.#streams.environment);
  }

  get canDraw(): boolean {
    return canMove(this.#streams.stdout, this.#streams.environment);
  }

  /** `lines` replace those that were drawn before; none: they are gone. Only where `canDraw`. */
  draw(lines: readonly string[]): void {
    if (lines.length === 0 && this.#drawn.length === 0) return;
    this.#streams.stdout.write(this.#erased() + NO_WRAP + lines.map((line) => `${line}\n`).join("") + WRAP);
    this.#drawn = lines;
  }

  print(text: string): void {
    this.#above(() => this.#streams.stdout.write(`${text}\n`));
  }

  warn(text: string): void {
    this.#above(() => this.#streams.stderr.write(`${text}\n`));
  }

  #above(write: () => void): void {
    const lines = this.#drawn;
    this.draw([]);
    write();
    if (lines.length > 0) this.draw(lines);
  }

  #erased(): string {
    return this.#drawn.length === 0 ? "" : UP.repeat(this.#drawn.length) + ERASE_BELOW;
  }
}
