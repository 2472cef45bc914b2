/**
 * The other keeper: systemd itself (FileDescriptorStoreMax=, systemd.service(5)). PID 1 holds the descriptors by name and gives them
 * to the next process of the unit with LISTEN_FDS: after a crash, a restart, a daemon-reexec.
 *
 *   put     FDSTORE=1 FDPOLL=0 FDNAME=handoffd/NAME + descriptor,  then BARRIER=1: done when PID 1 has done it
 *   remove  FDSTOREREMOVE=1 FDNAME=handoffd/NAME,                  then BARRIER=1
 *
 * What the store holds cannot be asked for, and what does not fit is dropped without an answer. So it is counted here against
 * $FDSTORE, which systemd sets since version 254; without it this keeper is not used. FDPOLL=0: otherwise systemd drops a descriptor
 * on which poll(2) says POLLHUP or POLLERR, which a socket says whose other end has gone.
 */
import { Descriptor } from "./descriptor.ts";
import { keeperFailed, keeperFull } from "./errors.ts";
import type { Keeper } from "./keeper.ts";
import { native } from "./native.ts";
import { type Given, Notifier } from "./service-manager.ts";

/** So that nobody's FileDescriptorName= is taken for one of these. */
const PREFIX = "handoffd/";
/** PID 1 may be busy: a daemon-reload on a host of many units takes seconds. */
const ANSWER_MS = 30_000;

export class FdStore implements Keeper {
  /** How many descriptors it takes (FileDescriptorStoreMax=). */
  readonly max: number;
  readonly #notifier: Notifier;
  readonly #held: Set<string>;
  /** One change at a time: a name is removed before it is put again. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(notifier: Notifier, max: number, held: Iterable<string>) {
    this.#notifier = notifier;
    this.max = max;
    this.#held = new Set(held);
  }

  /** `held`: the names that are in the store already. null where systemd keeps nothing, or does not say how much. */
  static find(environment: NodeJS.ProcessEnv, held: Iterable<string>): FdStore | null {
    const notifier = Notifier.find(environment);
    const max = Number(environment["FDSTORE"] ?? 0);
    return notifier === null || !(max > 0) ? null : new FdStore(notifier, max, held);
  }

  /** The names in the store. An exec in place must carry them over: the store cannot be asked. */
  get held(): ReadonlySet<string> {
    return this.#held;
  }

  put(name: string, fd: number): Promise<void> {
    assertName(name);
    // A duplicate: the caller may close its own before this turn comes.
    const own = new Descriptor(native.duplicate(fd));
    return this.#inTurn(async () => {
      using _own = own;
      // systemd would keep both under one name. Dying between the two messages is as dying before the first: what was held is held
      // no more, and whoever replaces a descriptor has no use for the old one.
      if (this.#held.has(name)) await this.#remove([name]);
      if (this.#held.size >= this.max) throw keeperFull(this.max);
      this.#held.add(name);
      await this.#tell(`FDSTORE=1\nFDPOLL=0\nFDNAME=${PREFIX}${name}`, [own.fd]);
      await this.#done();
    });
  }

  remove(names: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      await this.#remove(names.filter((name) => this.#held.has(name)));
      await this.#done();
    });
  }

  /** Nothing: the store gives only at a start. See `sortGiven`. */
  list(): Promise<Map<string, Descriptor>> {
    return Promise.resolve(new Map<string, Descriptor>());
  }

  async release(): Promise<void> {
    await this.remove([...this.#held]);
  }

  close(): void {
    // It holds on without us.
  }

  async #remove(names: readonly string[]): Promise<void> {
    // The last first: whoever dies in between leaves the first slots of a listener, and not some from its middle.
    for (const name of names.toReversed()) {
      await this.#tell(`FDSTOREREMOVE=1\nFDNAME=${PREFIX}${name}`, []);
      this.#held.delete(name);
    }
  }

  async #tell(state: string, descriptors: readonly number[]): Promise<void> {
    try {
      await this.#notifier.send(state, descriptors, ANSWER_MS);
    } catch (error) {
      throw keeperFailed("(systemd's fdstore) cannot be reached", error);
    }
  }

  async #done(): Promise<void> {
    try {
      await this.#notifier.barrier(ANSWER_MS);
    } catch (error) {
      throw keeperFailed("(systemd's fdstore) does not answer", error);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined); // Whoever asked gets the failure; the next in turn does not.
    return turn;
  }
}

/** Of what the service manager gave: what came from its store, and what its .socket units have opened. */
export function sortGiven(given: readonly Given[]): {
  readonly kept: Map<string, Descriptor>;
  readonly sockets: readonly Given[];
} {
  const kept = new Map<string, Descriptor>();
  const sockets: Given[] = [];
  for (const { name, descriptor } of given) {
    if (!name.startsWith(PREFIX)) {
      sockets.push({ name, descriptor });
      continue;
    }
    const own = name.slice(PREFIX.length);
    kept.get(own)?.close();
    kept.set(own, descriptor);
  }
  return { kept, sockets };
}

/** What systemd takes for a name (fdname_is_valid): printable ASCII, no colon, 255 characters at most. */
function assertName(name: string): void {
  if (!/^[ -9;-~]+$/u.test(name) || PREFIX.length + name.length > 255) {
    throw keeperFailed(`cannot hold a descriptor by the name "${name}"`);
  }
}
