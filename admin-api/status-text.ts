/**
 * The status as text, made now and then: however many look, it may be some milliseconds old, but is never from before an event or a
 * change.
 */
import type { Operations } from "./operations.ts";

/** The most of the time that making the status for those who look on may take, and for how long it is shown at most. */
const SHARE_OF_LOOKING = 1 / 50;
const LONGEST_MS = 50;

export const STATUS_TYPE = "application/json; charset=utf-8";

interface Made {
  readonly text: string;
  /** The newest event that it knows of. */
  readonly lastEvent: number;
  /** By performance.now(). */
  readonly until: number;
}

export class StatusText {
  readonly #operations: Pick<Operations, "status" | "events">;
  #made: Made | null = null;

  constructor(operations: Pick<Operations, "status" | "events">) {
    this.#operations = operations;
  }

  now(): string {
    const made = this.#made;
    const isFresh =
      made !== null && made.lastEvent === this.#operations.events.lastId && performance.now() < made.until;
    return isFresh ? made.text : this.#make();
  }

  /** Something has changed. */
  forget(): void {
    this.#made = null;
  }

  #make(): string {
    const begun = performance.now();
    const text = JSON.stringify(this.#operations.status());
    const at = performance.now();
    const until = at + Math.min(LONGEST_MS, (at - begun) / SHARE_OF_LOOKING);
    this.#made = { text, lastEvent: this.#operations.events.lastId, until };
    return text;
  }
}
