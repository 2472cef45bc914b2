/**
 * What is known of a generation's connections, and of its end by hand. In the snapshot, so that neither the daemon's death nor a
 * recovery forgets it; each field is written before the act that it is about.
 *
 * How many connections a generation has *served* is not here: the kernel does not count what a listening socket has accepted
 * (TCP_INFO and SO_MEMINFO of a listener are the same before and after: tcp_get_info, net/ipv4/tcp.c).
 */

export interface TrafficRecord {
  /** The most that were counted at one time; null: never counted. */
  readonly peak: number | null;
  /** Open when it was told to end. null: not told yet, or not counted. */
  readonly atEnd: number | null;
  /** Open when its processes were killed: 0 when they ended by themselves. null: it has not ended, or not counted. */
  readonly cut: number | null;
  /** Who ended it by hand, and when (milliseconds since the epoch). */
  readonly ended: { readonly by: string; readonly at: number } | null;
}

const NOTHING: TrafficRecord = { peak: null, atEnd: null, cut: null, ended: null };

export class Traffic {
  #record: TrafficRecord;
  readonly #onChange: () => void;
  readonly #end = new AbortController();

  /** `record`: undefined in a snapshot of an earlier version. `onChange` writes down what was changed. */
  constructor(record: TrafficRecord | undefined, onChange: () => void) {
    this.#record = record ?? NOTHING;
    this.#onChange = onChange;
    if (this.#record.ended !== null) this.#end.abort();
  }

  get record(): TrafficRecord {
    return this.#record;
  }

  /** Aborted when the generation's drain is over, whatever its deadline was. */
  get over(): AbortSignal {
    return this.#end.signal;
  }

  /** So many were just counted; null: they cannot be. Written with the next change. */
  seen(connections: number | null): void {
    if (connections === null || connections <= (this.#record.peak ?? -1)) return;
    this.#record = { ...this.#record, peak: connections };
  }

  /** Right before it is told to end. Written with that. */
  telling(connections: number | null): void {
    this.seen(connections);
    this.#record = { ...this.#record, atEnd: connections };
  }

  /** Right before its processes are killed, or when they have ended. Written when it returns. */
  cut(connections: number | null): void {
    this.#record = { ...this.#record, cut: connections };
    this.#onChange();
  }

  /** Ends the drain now; `write` writes the record first, and when it throws nothing has changed. Doing so twice is once. */
  endNow(by: string, at: number, write: () => void): void {
    const before = this.#record;
    if (before.ended !== null) return;
    this.#record = { ...before, ended: { by, at } };
    try {
      write();
    } catch (error) {
      this.#record = before;
      throw error;
    }
    this.#end.abort();
  }
}
