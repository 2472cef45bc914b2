/**
 * A file of JSON lines that is only ever appended to, and its one predecessor:
 *
 *   history.jsonl     {"v":1,"type":"deploy","at":"2026-01-02T03:05:06.000Z","id":"api-4","service":"api","by":"root (uid 0)", …}⏎
 *   history.1.jsonl   the same, older: history.jsonl is renamed to it when it has `limit` bytes
 *
 * A line is whole or it is not there. What was cut off in the middle (a crash, a full disk) stays as it is and is passed over by
 * the reader; the next line begins on a line of its own. So are lines of a version that this one does not know.
 *
 * Everything is opened for one act and closed again: whoever moves or removes the files loses what was in them and nothing else.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { hasCode } from "../../handoff/coded-error.ts";
import { linesBackwards } from "./lines-backwards.ts";

const VERSION = 1;
const NEWLINE = 0x0a;

/** One line. What else it has is its type's. */
export interface HistoryEntry {
  readonly v: 1;
  readonly type: string;
  /** When it was written down, RFC 3339. */
  readonly at: string;
  /** What it is about; with the type, what tells it from others. A crash may leave an entry twice. */
  readonly id: string;
  readonly [field: string]: unknown;
}

export interface Appended {
  /** How many of the entries are there, from the first on. */
  readonly written: number;
  /** Why the others are not; null when all are. */
  readonly error: unknown;
}

export class HistoryFile {
  readonly #directory: string;
  readonly #file: string;
  readonly #older: string;
  readonly #limit: number;

  /** `limit`: bytes a file; there are at most two. Opens nothing. */
  constructor(directory: string, limit: number) {
    this.#directory = directory;
    this.#file = join(directory, "history.jsonl");
    this.#older = join(directory, "history.1.jsonl");
    this.#limit = limit;
  }

  get path(): string {
    return this.#file;
  }

  /** Appends the entries, and has them on the disk (fdatasync(2)) when it returns. Does not throw. */
  append(entries: readonly HistoryEntry[]): Appended {
    try {
      const isNew = this.#makeRoom();
      const fd = openSync(this.#file, "a+", 0o600);
      try {
        let written = 0;
        let error: unknown = null;
        try {
          for (let start = endsInTheMiddle(fd) ? "\n" : ""; written < entries.length; start = "") {
            writeWhole(fd, Buffer.from(`${start}${JSON.stringify(entries[written])}\n`));
            written++;
          }
        } catch (failure) {
          error = failure;
        }
        if (written > 0) {
          fdatasyncSync(fd);
          if (isNew) syncDirectory(this.#directory);
        }
        return { written, error };
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      // Not even those that were written are on the disk for certain: they are written again.
      return { written: 0, error };
    }
  }

  /** Renames a full file. Returns whether the next append makes a new one. */
  #makeRoom(): boolean {
    const size = sizeOf(this.#file);
    if (size === null) return true;
    if (size < this.#limit) return false;
    renameSync(this.#file, this.#older);
    return true;
  }

  /** The entries, the newest first, read in pieces as they are asked for. What cannot be understood is passed over. */
  async *newestFirst(): AsyncGenerator<HistoryEntry> {
    for (const file of [this.#file, this.#older]) {
      for await (const line of linesBackwards(file)) {
        const entry = parseEntry(line);
        if (entry !== null) yield entry;
      }
    }
  }
}

/** null for what is no entry of this version. */
export function parseEntry(line: Uint8Array): HistoryEntry | null {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line));
  } catch {
    return null; // Torn, or never ours.
  }
  if (typeof content !== "object" || content === null) return null;
  const { v, type, at, id } = content as Partial<Record<"v" | "type" | "at" | "id", unknown>>;
  const isOurs = v === VERSION && [type, at, id].every((value) => typeof value === "string");
  return isOurs ? (content as HistoryEntry) : null;
}

/** A disk that becomes full takes a part, and says so when it is given the rest. */
function writeWhole(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}

function endsInTheMiddle(fd: number): boolean {
  const { size } = fstatSync(fd);
  if (size === 0) return false;
  const last = Buffer.alloc(1);
  readSync(fd, last, 0, 1, size - 1);
  return last[0] !== NEWLINE;
}

/** null when there is no such file. */
function sizeOf(file: string): number | null {
  try {
    return statSync(file).size;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

/** A new name is on the disk only with its directory (fsync(2)). */
function syncDirectory(directory: string): void {
  const fd = openSync(directory, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
