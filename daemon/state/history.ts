/**
 * What an auditor asks for: each deploy when it has ended, and what people did besides (history-file.ts has the form). It is
 * evidence, not state: nothing is ever decided by it, and a history that cannot be written stops nothing. Then its entries wait in
 * memory, in their order, and are tried again.
 *
 * A deploy is written here after its last record is in the snapshot, and marked there as written with the next snapshot
 * (Remembered.isInHistory). A daemon that dies in between writes it again when it comes back: at least once, never never. Readers
 * show it once.
 */
import type { Logger } from "pino";
import type { Deploy } from "../../admin-api/schemas.ts";
import { HistoryFile, type HistoryEntry } from "./history-file.ts";

/** Two files of this: some ten thousand deploys. */
const LIMIT = 8 * 1024 * 1024;
/** Entries that wait while they cannot be written; the oldest go first. */
const WAITING = 1_000;
const RETRY_MS = 10_000;

/** What happened. `deploy` in an entry of type "deploy" is as the API shows it. */
export type HistoryDraft =
  | {
      readonly type: "deploy";
      readonly id: string;
      readonly service: string;
      readonly by: string;
      readonly deploy: Deploy;
    }
  /** What someone asked of a deploy: `id` is the deploy's. */
  | {
      readonly type: "promote" | "abort" | "pause" | "continue" | "rollback";
      readonly id: string;
      readonly service: string;
      readonly by: string;
    }
  /** A generation was ended by hand: `id` is "api/3". `cut`: open connections when it was killed; null: not counted. */
  | {
      readonly type: "end";
      readonly id: string;
      readonly service: string;
      readonly by: string;
      readonly cut: number | null;
    }
  /** New connections wait from here on: `id` is the service. It ends with a deploy. */
  | {
      readonly type: "hold";
      readonly id: string;
      readonly service: string;
      readonly by: string;
      readonly idles: boolean;
    }
  | {
      readonly type: "scale";
      readonly id: string;
      readonly service: string;
      readonly by: string;
      readonly instances: number;
    };

export interface HistoryOptions {
  readonly limit?: number;
  readonly waiting?: number;
  readonly retryMs?: number;
}

interface Waiting {
  readonly entry: HistoryEntry;
  readonly onWritten: () => void;
}

export class History {
  readonly #file: HistoryFile;
  readonly #log: Pick<Logger, "error" | "warn">;
  readonly #onFailure: () => void;
  readonly #most: number;
  readonly #retryMs: number;
  #waiting: Waiting[] = [];
  #isFailing = false;
  #retry: NodeJS.Timeout | null = null;

  /** `onFailure` is called for each attempt that fails. */
  constructor(
    directory: string,
    log: Pick<Logger, "error" | "warn">,
    onFailure: () => void,
    { limit = LIMIT, waiting = WAITING, retryMs = RETRY_MS }: HistoryOptions = {},
  ) {
    this.#file = new HistoryFile(directory, limit);
    this.#log = log;
    this.#onFailure = onFailure;
    this.#most = waiting;
    this.#retryMs = retryMs;
  }

  /** Writes it down, now if that is possible. `onWritten` is called when it is on the disk. Does not throw. */
  append(draft: HistoryDraft, onWritten: () => void = () => undefined): void {
    this.appendAll([{ draft, onWritten }]);
  }

  /** The oldest first. */
  appendAll(drafts: readonly { readonly draft: HistoryDraft; readonly onWritten: () => void }[]): void {
    if (drafts.length === 0) return;
    const at = new Date().toISOString();
    for (const { draft, onWritten } of drafts) {
      const { type, ...rest } = draft;
      this.#waiting.push({ entry: { v: 1, type, at, ...rest }, onWritten });
    }
    const lost = this.#waiting.length - this.#most;
    if (this.#isFailing && lost > 0) {
      this.#waiting.splice(0, lost);
      this.#log.warn(
        { file: this.#file.path, entries: lost },
        "too much waits for the history: the oldest is lost",
      );
    }
    this.flush();
  }

  /** Tries again what could not be written. */
  flush(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    if (this.#waiting.length === 0) return;
    const { written, error } = this.#file.append(this.#waiting.map(({ entry }) => entry));
    const done = this.#waiting.splice(0, written);
    if (error !== null) this.#failed(error);
    else if (this.#isFailing) {
      this.#isFailing = false;
      this.#log.warn({ file: this.#file.path, entries: written }, "the history is written again");
    }
    for (const { onWritten } of done) onWritten();
  }

  #failed(error: unknown): void {
    this.#onFailure();
    if (!this.#isFailing) {
      this.#log.error(
        { err: error, file: this.#file.path },
        "the history cannot be written; deploys go on without it, and it is tried again",
      );
    }
    this.#isFailing = true;
    this.#retry = setTimeout(() => this.flush(), this.#retryMs);
    this.#retry.unref();
  }

  /** What is on the disk, the newest first; as far as it can be read. */
  async *newestFirst(): AsyncGenerator<HistoryEntry> {
    try {
      yield* this.#file.newestFirst();
    } catch (error) {
      this.#log.error({ err: error, file: this.#file.path }, "the history cannot be read");
    }
  }
}
