/**
 * What a daemon must know to go on after another one's death: one file per service, replaced atomically, written before the
 * act that it describes is irrevocable. A service's cost is its own, however many others there are.
 *
 *   state/services/api.json   { "format": 1, "boot": "…", "service": "api", "lastNumber": 3, …, "generations": […] }
 *
 * Not synced to the disk: the daemon's death does not lose what the kernel has, and after the kernel's death there are
 * no processes to find again. Only `version` means anything then.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Deployment } from "../deploy/deployment.ts";
import { hasCode, messageOf } from "../handoff/coded-error.ts";
import { cannotPrepare, snapshotUnreadable } from "./errors.ts";
import type { GenerationRecord } from "./generation-record.ts";
import { bootId } from "./proc.ts";

const FORMAT = 1;

export interface ServiceRecord {
  readonly service: string;
  /** The number of the newest generation; numbers are never used twice. */
  readonly lastNumber: number;
  /** The last version that a deploy succeeded with. */
  readonly version: string | null;
  readonly current: number | null;
  readonly candidate: number | null;
  readonly previous: number | null;
  /** The newest first; ended ones are kept for `history` and `rollback`. */
  readonly deploys: readonly Deployment[];
  /** Those that have not ended. */
  readonly generations: readonly GenerationRecord[];
}

interface SnapshotFile extends ServiceRecord {
  readonly format: number;
  readonly boot: string;
}

export class SnapshotStore {
  readonly #directory: string;
  readonly #boot = bootId();

  /** Makes the directory. Throws DIRECTORY_UNUSABLE. */
  constructor(state: string) {
    this.#directory = join(state, "services");
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw cannotPrepare(this.#directory, messageOf(error), error);
    }
  }

  /** Returns when the record is in place: a reader sees the old one or the new one, never half of it. */
  write(record: ServiceRecord): void {
    const file = this.#file(record.service);
    const content: SnapshotFile = { format: FORMAT, boot: this.#boot, ...record };
    writeFileSync(`${file}.new`, JSON.stringify(content), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }

  /**
   * The service's record; null when there is none. From before a reboot only the history and the version are left: its
   * processes are gone, and their pids belong to others. Throws SNAPSHOT_UNREADABLE.
   */
  read(service: string): ServiceRecord | null {
    const file = this.#file(service);
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      if (hasCode(error, "ENOENT")) return null;
      throw snapshotUnreadable(file, messageOf(error), error);
    }
    const content = parse(file, text);
    if (content.boot === this.#boot) return content;
    return { ...content, current: null, candidate: null, previous: null, generations: [] };
  }

  /** Forgets a service entirely. */
  remove(service: string): void {
    rmSync(this.#file(service), { force: true });
  }

  #file(service: string): string {
    return join(this.#directory, `${service}.json`);
  }
}

function parse(file: string, text: string): SnapshotFile {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw snapshotUnreadable(file, "it is not JSON", error);
  }
  if (typeof content !== "object" || content === null || !("format" in content)) {
    throw snapshotUnreadable(file, "it is not a snapshot");
  }
  if (content.format !== FORMAT) {
    throw snapshotUnreadable(
      file,
      `its format is ${String(content.format)}, and this version reads ${FORMAT}`,
    );
  }
  // Written by this program, mode 0600, replaced whole: the format's number is the promise about the rest.
  return content as SnapshotFile;
}
