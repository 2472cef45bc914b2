/**
 * Unix listeners. A socket with a path is `renamed`: each slot is bound to a hidden path beside the public one, and the public path is a
 * hard link that an atomic rename(2) moves from slot to slot. So there is a gate, a queue and a drain for each slot, but
 * no weights between 0 and 1. An abstract socket is `shared`: one slot for all generations.
 *
 *   /run/app/ipc.sock       → the slot that has the weight
 *   /run/app/.ipc.sock.0    slot 0, as bound         /run/app/.ipc.sock.0.s    its second name, which no
 *   /run/app/.ipc.sock.1    slot 1                   /run/app/.ipc.sock.1.s    application knows and unlinks
 */
import { linkSync, lstatSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { SUN_PATH_MAX } from "./address.ts";
import { hasCode, messageOf } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { addressInUse, cannotListen } from "./errors.ts";
import {
  assertBlind,
  isFree,
  keepSlots,
  type KeptSlots,
  type Listener,
  type ListenerOptions,
  NO_PINS,
  type ProbeTarget,
  slotName,
} from "./listener.ts";
import { native } from "./native.ts";
import { setSocketAccess } from "./socket-file.ts";
import { holdShared, SharedListener } from "./shared-listener.ts";
import { type Queue, Slot, unixQueue } from "./slot.ts";
import type { Share, SteerOptions, Steering } from "./steering.ts";

const NOTHING: ReadonlySet<string> = new Set();

export class UnixListener implements Listener {
  readonly name: string;
  readonly protocol = "unix";
  readonly mode = "renamed";
  readonly address: string;
  #options: ListenerOptions;
  readonly #slots: Slot[];
  #shares: readonly Share[];
  /** Slots are opened and given away one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: ListenerOptions, path: string, slots: Slot[], shares: readonly Share[]) {
    this.name = options.name;
    this.address = path;
    this.#options = options;
    this.#slots = slots;
    this.#shares = shares;
  }

  static async open(options: ListenerOptions, path: string): Promise<UnixListener> {
    assertFree(path);
    const listener = new UnixListener(options, path, [], [{ slot: 0, share: 1 }]);
    const slot = await listener.#grow();
    try {
      listener.steer(listener.#shares);
    } catch (error) {
      await listener.#withdraw(slot);
      throw cannotListen(`unix:${path}`, messageOf(error), error);
    }
    return listener;
  }

  /** Goes on with slots that were kept; one that is null is opened anew. Throws LISTENER_CANNOT_OPEN. */
  static resume(
    options: ListenerOptions,
    path: string,
    kept: readonly (KeptSlots[number] | null)[],
    shares: readonly Share[],
  ): UnixListener {
    const listener = new UnixListener(options, path, [], shares);
    for (const [index, descriptor] of kept.entries()) {
      // Nobody has one that is missing: a path has no order that a new socket could disturb.
      listener.#slots.push(
        descriptor === null ? listener.#bind(index) : new Slot(index, descriptor, unixQueue),
      );
    }
    return listener;
  }

  get backlog(): number {
    return this.#options.backlog;
  }

  get slots(): readonly Slot[] {
    return this.#slots;
  }

  get shares(): readonly Share[] {
    return this.#shares;
  }

  get steering(): Steering {
    return { shares: this.#shares, sticky: null, guests: null };
  }

  setBacklog(backlog: number): void {
    for (const slot of this.#slots) slot.assertBacklog(backlog);
    this.#options = { ...this.#options, backlog };
  }

  /** The mode and the group of the path, in force when it returns; null is what a new socket would have. */
  setAccess(mode: number | null, gid: number | null): void {
    // Links to one file each: whichever of them is public is changed with it.
    for (const { index, fd } of this.#slots) {
      const group = gid ?? process.getegid?.() ?? -1;
      setSocketAccess(fd, this.#stable(index), mode ?? modeOfFresh(), -1, group);
    }
    this.#options = { ...this.#options, mode, gid };
  }

  take(owner: string): Promise<Slot> {
    const turn = this.#turn.then(async () => {
      const slot = this.#slots.find((candidate) => isFree(this, candidate)) ?? (await this.#grow());
      slot.assertFresh(this.#options.backlog);
      slot.owner = owner;
      return slot;
    });
    this.#turn = turn.catch(() => undefined); // Its caller has the failure; the next in turn has not.
    return turn;
  }

  async #grow(): Promise<Slot> {
    const slot = this.#bind(this.#slots.length);
    try {
      await this.#options.keeper().put(slotName(this.name, slot.index), slot.fd);
    } catch (error) {
      await this.#withdraw(slot);
      throw error;
    }
    this.#slots.push(slot);
    return slot;
  }

  /** A socket at both paths of the slot; leftovers there are replaced. */
  #bind(index: number): Slot {
    const bound = this.#bound(index);
    const slot = new Slot(index, listenAt(bound, this.address, this.#options), unixQueue);
    try {
      rmSync(this.#stable(index), { force: true });
      linkSync(bound, this.#stable(index));
      return slot;
    } catch (error) {
      this.#removePaths(index);
      slot.close();
      throw error;
    }
  }

  /** Undoes what was done for a slot that nobody was given yet. */
  async #withdraw(slot: Slot): Promise<void> {
    this.#removePaths(slot.index);
    try {
      await this.#options.keeper().remove([slotName(this.name, slot.index)]);
    } catch {
      // The first failure is the one to tell, and a socket without a path is reached by nobody.
    } finally {
      slot.close();
    }
  }

  /** @throws Error (a bug) unless one slot has all the weight, and nothing depends on who connects. */
  steer(shares: readonly Share[], options: SteerOptions = {}): void {
    assertBlind(this, options);
    const whole = shares.find(({ share }) => share === 1);
    if (whole === undefined) throw new Error("a unix listener has one slot at weight 1");
    const fresh = `${this.#stable(whole.slot)}.new`;
    rmSync(fresh, { force: true });
    linkSync(this.#stable(whole.slot), fresh);
    renameSync(fresh, this.address);
    // rename(2) of two links to one file does nothing at all and leaves both.
    rmSync(fresh, { force: true });
    this.#shares = shares;
  }

  assertAlone(): void {
    // A path is not a group: nobody can join.
  }

  prove(): Promise<void> {
    return Promise.resolve(); // The path names the slot; there is no index to prove.
  }

  probe(slot: Slot): ProbeTarget {
    return { kind: "unix", path: this.#stable(slot.index) };
  }

  honourPins(): Disposable {
    return NO_PINS;
  }

  halfOpen(): ReadonlySet<string> {
    return NOTHING; // connect(2) of a unix socket is one step.
  }

  living(): null {
    return null;
  }

  keep(): Promise<void> {
    return keepSlots(this, this.#options.keeper());
  }

  async close(): Promise<number> {
    let lost = 0;
    try {
      await this.#options.keeper().remove(this.#slots.map(({ index }) => slotName(this.name, index)));
    } finally {
      removeSocket(this.address);
      for (const slot of this.#slots.splice(0)) {
        lost += slot.queue.length;
        this.#removePaths(slot.index);
        slot.close();
      }
    }
    return lost;
  }

  #removePaths(index: number): void {
    rmSync(this.#bound(index), { force: true });
    rmSync(this.#stable(index), { force: true });
  }

  #bound(index: number): string {
    return join(dirname(this.address), `.${basename(this.address)}.${index}`);
  }

  #stable(index: number): string {
    return `${this.#bound(index)}.s`;
  }
}

export class AbstractListener extends SharedListener {
  static async open(options: ListenerOptions, name: string): Promise<AbstractListener> {
    const slot = new Slot(0, listenAt(`\0${name}`, `@${name}`, options), unixQueue);
    return holdShared(new AbstractListener(options, "unix", `@${name}`, slot, abstractTarget(name)));
  }

  static resume(options: ListenerOptions, name: string, kept: Descriptor): AbstractListener {
    const slot = new Slot(0, kept, unixQueue);
    return new AbstractListener(options, "unix", `@${name}`, slot, abstractTarget(name));
  }
}

function abstractTarget(name: string): ProbeTarget {
  return { kind: "unix", path: `\0${name}` };
}

/** Unlinks a socket's path. What else may stand there by now is not ours, and stays. */
function removeSocket(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(path, { force: true });
}

/** What bind(2) leaves of a socket's mode; Umask in proc(5). process.umask() without an argument sets it twice. */
function modeOfFresh(): number {
  const umask = /^Umask:\s*([0-7]+)$/mu.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "022";
  return 0o777 & ~Number.parseInt(umask, 8);
}

/** From so many on one dump of all is cheaper than a question for each, which makes the kernel look through all of them. */
const MANY_SLOTS = 16;

/** The accept queues of many unix sockets, by inode; null for so few that each is asked for its own. */
export function queuesOfMany(listeners: Iterable<Listener>): ReadonlyMap<number, Queue> | null {
  let slots = 0;
  for (const listener of listeners) if (listener.protocol === "unix") slots += listener.slots.length;
  return slots < MANY_SLOTS ? null : new Map(native.unixListenQueues());
}

/** A listening socket at `path`; the caller owns it. `shown` is the address as it was configured. */
function listenAt(path: string, shown: string, options: ListenerOptions): Descriptor {
  const abstract = path.startsWith("\0");
  if (!abstract && Buffer.byteLength(path) >= SUN_PATH_MAX) {
    throw cannotListen(`unix:${shown}`, "the path is too long; shorten it", null);
  }
  const descriptor = new Descriptor(native.socket("unix", "stream", false));
  try {
    if (!abstract) rmSync(path, { force: true });
    native.bind(descriptor.fd, { family: "unix", path });
    if (!abstract) {
      // Before it listens: nobody has connected by then.
      if (options.mode !== null || options.gid !== null)
        setSocketAccess(descriptor.fd, path, options.mode ?? modeOfFresh(), -1, options.gid ?? -1);
    }
    native.listen(descriptor.fd, options.backlog);
    return descriptor;
  } catch (error) {
    descriptor.close();
    if (hasCode(error, "EADDRINUSE")) throw addressInUse(`unix:${shown}`, null, error);
    if (hasCode(error, "ENOENT")) {
      throw cannotListen(
        `unix:${shown}`,
        `the directory ${dirname(path)} does not exist; create it first`,
        error,
      );
    }
    throw cannotListen(`unix:${shown}`, messageOf(error), error);
  }
}

/** Throws unless the public path is absent or the leftover of a socket that nobody listens on. */
function assertFree(path: string): void {
  let stat;
  try {
    stat = lstatSync(path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return;
    throw cannotListen(`unix:${path}`, messageOf(error), error);
  }
  if (!stat.isSocket())
    throw cannotListen(`unix:${path}`, "something that is no socket has this path; move it away", null);
  using probe = new Descriptor(native.socket("unix", "stream", true));
  try {
    native.connect(probe.fd, { family: "unix", path });
  } catch (error) {
    if (hasCode(error, "ECONNREFUSED")) return;
    throw cannotListen(`unix:${path}`, messageOf(error), error);
  }
  throw addressInUse(`unix:${path}`, null, null);
}
