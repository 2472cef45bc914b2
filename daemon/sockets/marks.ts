/**
 * SO_MARK values, by which the kernel tells us whose a connection is: set on a slot's socket, inherited by every connection that is
 * accepted from it (socket(7)). Setting one needs CAP_NET_ADMIN; without it connections are not counted.
 */
import type { Logger } from "pino";
import { hasCode } from "../../handoff/coded-error.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native, SO, TCP } from "../../handoff/native.ts";
import type { Config } from "../config/config.ts";
import type { ServiceRecord } from "../state/snapshot.ts";

const MASK = 0xffff_0000;
const LAST = 0xffff;
const OPEN = (1 << TCP.ESTABLISHED) | (1 << TCP.CLOSE_WAIT) | (1 << TCP.FIN_WAIT1);

/**
 * Open connections that bear one of these marks, of those that were counted. null where they cannot be told apart: nothing was
 * counted, or the generation's sockets bear no mark (it has none yet, or unix sockets only).
 */
export function openOf(marks: readonly number[], counts: ReadonlyMap<number, number> | null): number | null {
  if (counts === null || marks.length === 0) return null;
  return marks.reduce((sum, mark) => sum + (counts.get(mark) ?? 0), 0);
}

/** The most of the time that counting for those who look on may take. */
const SHARE_OF_LOOKING = 1 / 100;

interface Counted {
  readonly counts: Map<number, number>;
  /** For how long they are good enough to be shown, by performance.now(). */
  readonly until: number;
}

export class Marks {
  readonly #base: number;
  #last: number;
  #recent: Counted | null = null;

  private constructor(base: number, last: number) {
    this.#base = base;
    this.#last = last;
  }

  /** `used` are marks that connections may bear already. null when this process may not set marks. */
  static open(base: number, used: readonly number[]): Marks | null {
    using trial = new Descriptor(native.socket("inet", "stream", true));
    try {
      native.setOption(trial.fd, SO.SOL_SOCKET, SO.SO_MARK, base);
    } catch (error) {
      if (hasCode(error, "EPERM")) return null;
      throw error;
    }
    return new Marks(
      base,
      used.reduce((last, mark) => Math.max(last, mark & LAST), 0),
    );
  }

  /** The next one. After 65,535 they begin again: whoever bore the first has long gone. */
  next(): number {
    this.#last = this.#last === LAST ? 1 : this.#last + 1;
    return this.#base | this.#last;
  }

  /** Whether it is one that this daemon gives, or one before it. */
  isOurs(mark: number): boolean {
    return (mark & MASK) >>> 0 === this.#base;
  }

  /** Open connections by mark, of all that bear one of ours. One dump of the kernel's table, of milliseconds. */
  count(): Map<number, number> {
    const begun = performance.now();
    const counts = new Map(native.countByMark(OPEN, this.#base, MASK));
    const at = performance.now();
    this.#recent = { counts, until: at + (at - begun) * (1 / SHARE_OF_LOOKING - 1) };
    return counts;
  }

  /** The same for those who look on: a little old, so that however many look, counting takes a hundredth of the time. */
  recent(): Map<number, number> {
    return this.#recent !== null && performance.now() < this.#recent.until
      ? this.#recent.counts
      : this.count();
  }
}

/** null, and said, where connections cannot be marked. `kept` are marks of sockets that others have left. */
export function openMarks(
  config: Pick<Config, "marks">,
  records: ReadonlyMap<string, ServiceRecord | null>,
  kept: readonly number[],
  log: Logger,
): Marks | null {
  if (config.marks === null) return null;
  const written = [...records.values()].flatMap((record) => record?.generations ?? []);
  const marks = Marks.open(config.marks.base, [...written.flatMap(({ marks: own }) => own), ...kept]);
  if (marks === null) {
    log.warn("connections are not counted per generation: setting SO_MARK needs CAP_NET_ADMIN");
  }
  return marks;
}
