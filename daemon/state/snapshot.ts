/**
 * What a daemon must know to go on after another one's death: one record per service, replaced atomically, written before the
 * act that it describes is irrevocable. A service's cost is its own, however many others there are.
 *
 *   state/services/api.json   { "format": 2, "boot": "…", "sequence": 41, "service": "api", "lastNumber": 3, …, "generations": […] }
 *   state/services/api.live   the same while a deploy is under way, and newer
 *
 * Of the files that are there the one with the highest sequence holds. Two, because they are for two kinds of death:
 *
 * - api.json is synced to the disk before it is renamed over its predecessor, so that it outlives a power failure; that takes
 *   milliseconds. After the kernel's death only `version`, `lastNumber` and the history mean anything: it is written
 *   when the version changes and when nothing is under way.
 * - api.live is unlinked and made anew, which costs microseconds, a dozen times in a deploy (renamed over a predecessor,
 *   ext4 would write it out first). A daemon that dies between leaves api.live.new, whole. After a reboot nobody looks at it.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Deployment, isTerminal } from "../../deploy/deployment.ts";
import type { Hold } from "../../deploy/hold.ts";
import { hasCode, messageOf } from "../../handoff/coded-error.ts";
import { cannotPrepare, snapshotUnreadable, stateNotWritten } from "../errors.ts";
import type { Remembered } from "../service/evidence.ts";
import { reach } from "../fault.ts";
import type { GenerationRecord } from "../generation/generation-record.ts";
import { bootId } from "../proc.ts";
import { FORMAT, isReadable, migrate } from "./snapshot-format.ts";

export interface ServiceRecord {
  readonly service: string;
  /** The number of the newest generation; numbers are never used twice. */
  readonly lastNumber: number;
  /** The last version that a deploy succeeded with. */
  readonly version: string | null;
  readonly current: number | null;
  readonly candidate: number | null;
  readonly previous: number | null;
  /** null: new connections are not held. */
  readonly hold: Hold | null;
  /** How many instances someone has asked for; null: as many as the configuration says. */
  readonly instances: number | null;
  /** By listener, the slot that new connections wait on, where no generation has it. */
  readonly waiting: Readonly<Record<string, number>>;
  /** The newest first; ended ones are kept for `history` and `rollback`. */
  readonly deploys: readonly Remembered[];
  /** Those that have not ended. */
  readonly generations: readonly GenerationRecord[];
}

/** What is in a file, in today's format. */
interface SnapshotFile extends ServiceRecord {
  readonly format: number;
  readonly boot: string;
  readonly sequence: number;
}

export interface SnapshotStoreOptions {
  readonly use?: "write" | "read";
  readonly onFailure?: (service: string) => void;
}

export class SnapshotStore {
  readonly #directory: string;
  readonly #onFailure: (service: string) => void;
  readonly #boot = bootId();
  /** What was written last, by service: a record that says the same again is not written again. */
  readonly #written = new Map<string, Encoded>();
  /** The version that is in the lasting file, by service. */
  readonly #versions = new Map<string, string | null>();
  #sequence = 0;

  /**
   * Makes the directory, unless it is only to be read. Throws DIRECTORY_UNUSABLE. `onFailure` is told of each record that could
   * not be written.
   */
  constructor(state: string, { use = "write", onFailure = () => undefined }: SnapshotStoreOptions = {}) {
    this.#onFailure = onFailure;
    this.#directory = join(state, "services");
    if (use === "read") return;
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw cannotPrepare(this.#directory, messageOf(error), error);
    }
  }

  /** Returns when the record is in place: a reader sees the old one or the new one, never half of it. Throws STATE_NOT_WRITTEN. */
  write(record: ServiceRecord, file: "lasting" | "as-needed" = "as-needed"): void {
    const { service, version, deploys } = record;
    const before = this.#written.get(service);
    const body = encode(record, before);
    if (before?.text === body.text && before.rest.equals(body.rest) && file === "as-needed") return;
    this.#written.delete(service); // If what follows throws, nobody knows what is there.
    const head = { format: FORMAT, boot: this.#boot, sequence: ++this.#sequence };
    const text = `${JSON.stringify(head).slice(0, -1)},${body.text.slice(1)}`;
    const isVersionNew = this.#versions.get(service) !== version;
    const isQuiet = deploys.every((deployment) => isTerminal(deployment));
    const outlivesPower = file === "lasting" || isVersionNew || isQuiet;
    const path = outlivesPower ? this.#file(service) : this.#live(service);
    try {
      this.#replace(path, [text, body.rest], outlivesPower ? "lasting" : "live");
    } catch (error) {
      this.#onFailure(service);
      throw stateNotWritten(path, messageOf(error), error);
    }
    if (outlivesPower) unlink(this.#live(service));
    this.#versions.set(service, version);
    this.#written.set(service, body);
  }

  #replace(path: string, content: Content, kind: "lasting" | "live"): void {
    const isLasting = kind === "lasting";
    try {
      writeWhole(`${path}.new`, content, isLasting);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
      // Whoever has removed the directory did not mean the daemon to forget.
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      writeWhole(`${path}.new`, content, isLasting);
    }
    reach(`snapshot.${kind}.written`);
    if (!isLasting) unlink(path);
    if (!isLasting) reach("snapshot.live.unlinked");
    renameSync(`${path}.new`, path);
    reach(`snapshot.${kind}.renamed`);
  }

  /**
   * The service's record; null when there is none. From before a reboot only the history and the version are left: its
   * processes are gone, and their pids belong to others. Throws SNAPSHOT_UNREADABLE.
   */
  read(service: string): ServiceRecord | null {
    const file = this.#file(service);
    const text = contentOf(file);
    const live = this.#live(service);
    const candidates = [
      text === null ? null : parse(file, text),
      this.#readLive(live),
      this.#readLive(`${live}.new`),
    ];
    const [newest] = candidates
      .filter((content) => content !== null)
      .sort((a, b) => sequenceOf(b) - sequenceOf(a));
    if (newest === undefined) return null;
    this.#sequence = Math.max(this.#sequence, sequenceOf(newest));
    if (newest.boot === this.#boot) return newest;
    return {
      ...newest,
      current: null,
      candidate: null,
      previous: null,
      hold: null,
      waiting: {},
      generations: [],
    };
  }

  /** null unless it is whole and of this boot: a daemon that dies while it writes leaves half of one. */
  #readLive(file: string): SnapshotFile | null {
    const text = contentOf(file);
    if (text === null) return null;
    try {
      const content = parse(file, text);
      return content.boot === this.#boot ? content : null;
    } catch (error) {
      if (hasCode(error, "SNAPSHOT_UNREADABLE")) return null;
      throw error;
    }
  }

  /** A service of this name begins with the configured version from now on. Its numbers and its history go on. */
  forgetVersion(service: string): void {
    const record = this.read(service);
    if (record !== null) this.write({ ...record, version: null });
  }

  /** Forgets a service entirely. */
  remove(service: string): void {
    this.#written.delete(service);
    this.#versions.delete(service);
    for (const file of [this.#file(service), this.#live(service), `${this.#live(service)}.new`]) {
      rmSync(file, { force: true });
    }
  }

  #file(service: string): string {
    return join(this.#directory, `${service}.json`);
  }

  #live(service: string): string {
    return join(this.#directory, `${service}.live`);
  }
}

/** As rmSync with `force`, in one system call: a deploy does this a dozen times. */
function unlink(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

/** `isSynced`: on the disk when it returns. */
function writeWhole(file: string, content: Content, isSynced: boolean): void {
  const fd = openSync(file, "w", 0o600);
  try {
    for (const part of content) writeFileSync(fd, part);
    if (isSynced) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

type Content = readonly [text: string, rest: Buffer];

interface Encoded {
  readonly text: string;
  /** All deploys but the newest. */
  readonly older: readonly Deployment[];
  /** What follows the text: theirs. */
  readonly rest: Buffer;
}

/**
 * As JSON.stringify, but what is large and stays as it is becomes text only once: of a hundred deploys the newest changes, and a
 * generation's configuration never does. `before`: what was written last.
 */
function encode({ deploys, generations, ...facts }: ServiceRecord, before: Encoded | undefined): Encoded {
  const runs = generations.map(
    ({ config, ...rest }) => `${JSON.stringify(rest).slice(0, -1)},"config":${textOf(config)}}`,
  );
  const [newest, ...older] = deploys;
  const first = newest === undefined ? "" : textOf(newest);
  return {
    text: `${JSON.stringify(facts).slice(0, -1)},"generations":[${runs.join(",")}],"deploys":[${first}`,
    older,
    rest: restOf(older, before),
  };
}

function restOf(older: readonly Deployment[], before: Encoded | undefined): Buffer {
  const isSame =
    before?.older.length === older.length && older.every((each, at) => each === before.older[at]);
  if (isSame) return before.rest;
  return Buffer.from(older.length === 0 ? "]}" : `,${older.map((each) => textOf(each)).join(",")}]}`);
}

/** Deployments and configurations are replaced, never changed: the same object is the same text. */
const texts = new WeakMap<object, string>();

function textOf(thing: Deployment | GenerationRecord["config"]): string {
  let text = texts.get(thing);
  if (text === undefined) {
    text = JSON.stringify(thing);
    texts.set(thing, text);
  }
  return text;
}

/** null when there is no such file. */
function contentOf(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw snapshotUnreadable(file, messageOf(error), error);
  }
}

/** 0 in a file of a version that did not count. */
function sequenceOf(content: Partial<SnapshotFile>): number {
  return content.sequence ?? 0;
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
  if (!isReadable(content.format)) {
    throw snapshotUnreadable(
      file,
      `its format is ${String(content.format)}, and this version reads up to ${FORMAT}`,
    );
  }
  // Written by this program, mode 0600, replaced whole: the format's number is the promise about the rest.
  return migrate(content) as unknown as SnapshotFile;
}
