/** Says the first refusal at once, and how many came after it once in a while: whoever knocks a thousand times fills no disk. */
const WINDOW_MS = 10_000;

export class Refusals {
  readonly #say: (message: string) => void;
  #timer: NodeJS.Timeout | null = null;
  #unsaid = 0;
  #last = "";

  constructor(say: (message: string) => void) {
    this.#say = say;
  }

  add(message: string): void {
    if (this.#timer !== null) {
      this.#unsaid++;
      this.#last = message;
      return;
    }
    this.#say(message);
    this.#timer = setTimeout(() => this.#over(), WINDOW_MS);
    this.#timer.unref();
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #over(): void {
    this.#timer = null;
    if (this.#unsaid === 0) return;
    const more = this.#unsaid - 1;
    this.#unsaid = 0;
    this.add(more === 0 ? this.#last : `${this.#last}; so did ${more} others within ${WINDOW_MS / 1000} s`);
  }
}
