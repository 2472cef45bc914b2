/** What an instance says of itself on NOTIFY_SOCKET, beside that it is ready or stopping (sd_notify(3)). */

/** As much of STATUS= is shown: it is one line for people. */
const LONGEST_STATUS = 256;
/** EXTEND_TIMEOUT_USEC= in microseconds: 11 days are enough for whoever has counted. */
const MICROSECONDS = /^\d{1,12}$/u;
/** Who asks for so much more asks for something new; less is not worth writing down. */
const STEP_MS = 1_000;

export class Notices {
  #status: string | null = null;
  #extendedTo: number;
  /** As much of it was told. */
  #toldTo: number;

  constructor(extendedTo = 0) {
    this.#extendedTo = extendedTo;
    this.#toldTo = extendedTo;
  }

  /** STATUS=, the last one; null: it has said none, or nothing. */
  get status(): string | null {
    return this.#status;
  }

  /** Until when it has asked to be let start, or end, in milliseconds since the epoch; 0: it has not. */
  get extendedTo(): number {
    return this.#extendedTo;
  }

  /** Returns whether it asks for more time than it had asked for, by a second at least. `now` in milliseconds since the epoch. */
  hear(message: ReadonlyMap<string, string>, now: number): boolean {
    const status = message.get("STATUS");
    if (status !== undefined) this.#status = status === "" ? null : status.slice(0, LONGEST_STATUS);
    const microseconds = message.get("EXTEND_TIMEOUT_USEC") ?? "";
    if (!MICROSECONDS.test(microseconds)) return false;
    this.#extendedTo = Math.max(this.#extendedTo, now + Number(microseconds) / 1000);
    if (this.#extendedTo < this.#toldTo + STEP_MS) return false;
    this.#toldTo = this.#extendedTo;
    return true;
  }

  /** Its start, or its end, begins: what it has asked for was about something else. */
  forgetExtension(): void {
    this.#extendedTo = 0;
    this.#toldTo = 0;
  }

  /** Another process is in its place. */
  forget(): void {
    this.#status = null;
    this.forgetExtension();
  }
}
