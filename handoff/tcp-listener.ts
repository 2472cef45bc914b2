/**
 * A TCP listener: slots in one SO_REUSEPORT group, steered by a classic BPF program (steering.ts).
 *
 * An index is the order of listen(2), and only of that: so slots are opened one after the other, and never closed
 * before the listener is. The kernel does not tell an index; `prove` does, by a pinned connection.
 */
import type { Socket } from "node:net";
import { formatHostPort, type TcpAddress } from "./address.ts";
import { messageOf } from "./coded-error.ts";
import type { Descriptor } from "./descriptor.ts";
import { cannotListen, foreignMember, slotNotProved } from "./errors.ts";
import {
  isFree,
  isReached,
  keepSlots,
  type KeptSlots,
  type Listener,
  type ListenerOptions,
  NO_PINS,
  type ProbeTarget,
  slotName,
} from "./listener.ts";
import { type DiagSocket, native, SO, TCP } from "./native.ts";
import { connectPinned, serverSide } from "./pin.ts";
import { Slot, tcpQueue } from "./slot.ts";
import {
  compileSteering,
  MAX_SLOTS,
  pinPorts,
  pinSource,
  type Share,
  type SteerOptions,
  type Steering,
} from "./steering.ts";
import { assertUnused, listenOn, overlap } from "./tcp-member.ts";

const PROOF_MS = 2_000;
const TAKE_BACK_MS = 100;
const LOOK_MS = 1;
/** What may wait in a queue: a client that has only half closed waits for its answer. */
const QUEUED = (1 << TCP.ESTABLISHED) | (1 << TCP.CLOSE_WAIT);

export class TcpListener implements Listener {
  readonly name: string;
  readonly protocol = "tcp";
  readonly mode = "steered";
  #options: ListenerOptions;
  readonly #bound: TcpAddress;
  readonly #slots: Slot[];
  #steering: Steering;
  /** Who needs pins right now, beside `alwaysPinned`. */
  #pinners = 0;
  /** Slots are opened and given away one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: ListenerOptions, bound: TcpAddress, slots: Slot[], steering: Steering) {
    this.name = options.name;
    this.#options = options;
    this.#bound = bound;
    this.#slots = slots;
    this.#steering = steering;
  }

  /** Binds the address with one slot, which has the weight: connections wait there until a generation serves. */
  static async open(options: ListenerOptions, address: TcpAddress): Promise<TcpListener> {
    assertUnused(options, address);
    const descriptor = listenOn(options, address);
    const local = native.localAddress(descriptor.fd);
    if (local.family === "unix") throw new Error("a TCP socket with a unix address");
    const bound: TcpAddress = { kind: "tcp", family: local.family, host: local.host, port: local.port };
    return TcpListener.adopt(options, bound, descriptor);
  }

  /** Begins with the only member of a SO_REUSEPORT group, which listens already. Owns it, also on a failure. */
  static async adopt(
    options: ListenerOptions,
    bound: TcpAddress,
    descriptor: Descriptor,
  ): Promise<TcpListener> {
    const slot = new Slot(0, descriptor, tcpQueue);
    const listener = new TcpListener(options, bound, [slot], {
      shares: [{ slot: 0, share: 1 }],
      sticky: null,
      guests: null,
    });
    try {
      listener.assertAlone();
      await listener.#admit(slot);
    } catch (error) {
      await listener.#withdraw(slot);
      throw error;
    }
    return listener;
  }

  /**
   * Goes on with the slots that were kept, in the order of their indices. The kernel's program still stands; `shares`
   * and `how` are what it does. The caller proves the slots before it changes a weight.
   */
  static resume(
    options: ListenerOptions,
    kept: KeptSlots,
    shares: readonly Share[],
    { sticky = null, guests = null }: SteerOptions = {},
  ): TcpListener {
    const first = kept[0];
    if (first === undefined) throw new Error("a listener without slots");
    const local = native.localAddress(first.fd);
    if (local.family === "unix") throw new Error("a TCP socket with a unix address");
    const slots = kept.map((descriptor, index) => new Slot(index, descriptor, tcpQueue));
    return new TcpListener(
      options,
      { kind: "tcp", family: local.family, host: local.host, port: local.port },
      slots,
      { shares, sticky, guests },
    );
  }

  get backlog(): number {
    return this.#options.backlog;
  }

  get address(): string {
    return formatHostPort(this.#bound);
  }

  get slots(): readonly Slot[] {
    return this.#slots;
  }

  get shares(): readonly Share[] {
    return this.#steering.shares;
  }

  get steering(): Steering {
    return this.#steering;
  }

  setBacklog(backlog: number): void {
    for (const slot of this.#slots) slot.assertBacklog(backlog);
    this.#options = { ...this.#options, backlog };
  }

  honourPins(): Disposable {
    if (this.#options.alwaysPinned) return NO_PINS;
    if (this.#pinners++ === 0) this.#attach(this.#steering);
    return {
      [Symbol.dispose]: () => {
        if (--this.#pinners === 0 && this.#slots.length > 0) this.#attach(this.#steering);
      },
    };
  }

  take(owner: string): Promise<Slot> {
    const turn = this.#turn.then(async () => {
      this.assertAlone();
      const slot = this.#slots.find((candidate) => isFree(this, candidate)) ?? (await this.#grow(owner));
      slot.assertFresh(this.#options.backlog);
      if (this.#options.nextMark !== null) slot.mark = this.#options.nextMark();
      slot.owner = owner;
      return slot;
    });
    this.#turn = turn.catch(() => undefined); // Its caller has the failure; the next in turn has not.
    return turn;
  }

  async #grow(owner: string | null): Promise<Slot> {
    if (this.#slots.length >= MAX_SLOTS) {
      throw cannotListen(
        this.address,
        `all ${MAX_SLOTS} slots are in use; wait for generations that drain, or end one: handoffctl end SERVICE GENERATION`,
        null,
      );
    }
    const slot = new Slot(this.#slots.length, listenOn(this.#options, this.#bound), tcpQueue);
    // From here on others see it: an idle slot whose proof has just arrived would be given an acceptor.
    slot.owner = owner;
    this.#slots.push(slot);
    try {
      await this.#admit(slot);
    } catch (error) {
      await this.#withdraw(slot);
      throw error;
    }
    return slot;
  }

  /** Takes back the slot that could not be admitted. The last member may be closed: no other moves into its place. */
  async #withdraw(slot: Slot): Promise<void> {
    this.#slots.pop();
    if (this.#slots.length > 0) this.#attach(this.#steering);
    try {
      await this.#options.keeper().remove([slotName(this.name, slot.index)]);
    } catch {
      // The first failure is the one to tell. A keeper that has died holds nothing; of one that lives and still holds the slot
      // `assertAlone` says so before another slot is opened.
    } finally {
      slot.close();
    }
  }

  /** Makes a new member safe to use: held outside, known to the program, proved. */
  async #admit(slot: Slot): Promise<void> {
    if (this.#options.nextMark !== null) slot.mark = this.#options.nextMark();
    await this.#options.keeper().put(slotName(this.name, slot.index), slot.fd);
    this.#attach(this.#steering);
    await this.#prove(slot, () => false, true);
  }

  steer(shares: readonly Share[], { sticky = null, guests = null }: SteerOptions = {}): void {
    this.#attach({ shares, sticky, guests });
  }

  #attach(steering: Steering): void {
    const first = this.#slots[0];
    if (first === undefined) throw new Error("a listener without slots");
    native.attachReuseportFilter(
      first.fd,
      compileSteering({
        ...steering,
        family: this.#bound.family,
        slots: this.#slots.length,
        pins: this.#options.alwaysPinned || this.#pinners > 0,
      }),
    );
    this.#steering = steering;
    for (const slot of this.#slots) if (isReached(steering, slot.index)) slot.isSettled = false;
  }

  assertAlone(): void {
    const ours = new Set(this.#slots.map((slot) => slot.inode));
    const strangers = native
      .diagSockets(this.#bound.family, 1 << TCP.LISTEN, this.#bound.port)
      .filter(({ localHost, inode }) => overlap(localHost, this.#bound.host) && !ours.has(inode));
    if (strangers.length === 0) return;
    const names = strangers.map(
      ({ inode, uid }) => this.#options.holderOf(inode) ?? `a process of uid ${uid}`,
    );
    throw foreignMember(this.address, [...new Set(names)].join(", "));
  }

  prove(slot: Slot, isOwners: (inode: number) => boolean = () => false): Promise<void> {
    return this.#prove(slot, isOwners, slot.owner === null);
  }

  /** `isUnserved`: nobody else would take the proof's own connection out of the queue. */
  async #prove(slot: Slot, isOwners: (inode: number) => boolean, isUnserved: boolean): Promise<void> {
    using _pins = this.honourPins();
    const before = slot.queue.length;
    let client;
    try {
      client = await connectPinned(this.probe(slot), PROOF_MS);
    } catch (error) {
      throw slotNotProved(this.address, slot.index, `a pinned connection failed: ${messageOf(error)}`);
    }
    try {
      await this.#assertArrived(slot, client, before, isOwners);
      if (isUnserved) await this.#takeBack(slot, client, before);
    } finally {
      client.resetAndDestroy();
    }
  }

  async #assertArrived(
    slot: Slot,
    client: Socket,
    before: number,
    isOwners: (inode: number) => boolean,
  ): Promise<void> {
    const mark = this.#options.nextMark === null ? 0 : slot.mark;
    const deadline = performance.now() + PROOF_MS;
    for (let seen = false; ;) {
      const server = serverSide(client);
      if (server !== null) {
        seen = true;
        // A mark is a connection's from its SYN on, and stands in the way of any other conclusion.
        if (mark !== 0 || server.mark !== 0) {
          if (server.mark === slot.mark) return;
          throw slotNotProved(this.address, slot.index, "a pinned connection arrived elsewhere");
        }
        // Without one, it waits in this slot's queue, or this slot's generation has accepted it. The kernel shows a connection before it
        // queues it, and takes it out of the queue before the acceptor has its descriptor: "not yet" looks like "elsewhere".
        if (server.inode === 0 ? slot.queue.length > before : isOwners(server.inode)) return;
      }
      if (performance.now() > deadline) {
        const what = seen ? "a pinned connection arrived elsewhere" : "a pinned connection vanished";
        throw slotNotProved(this.address, slot.index, what);
      }
      await look();
    }
  }

  async #takeBack(slot: Slot, client: Socket, before: number): Promise<void> {
    // With others before it in the queue it is left to the acceptor that they need in any case.
    if (before > 0 || slot.holders.length > 0) return;
    const deadline = performance.now() + TAKE_BACK_MS;
    // Established is queued (tcp_check_req adds it first). With TCP_DEFER_ACCEPT it becomes neither.
    while (serverSide(client)?.state === TCP.SYN_RECV) {
      if (performance.now() > deadline) return;
      await look();
    }
    // Of two, one may be a user's; a single one is ours, since ours is there.
    if (slot.queue.length !== 1) return;
    const accepted = acceptAtOnce(slot.fd);
    if (accepted !== null) native.close(accepted);
  }

  probe(slot: Slot): ProbeTarget {
    const { family, host, port } = this.#bound;
    if (family === "inet") {
      return {
        kind: "tcp",
        host: host === "0.0.0.0" ? "127.0.0.1" : host,
        port,
        source: pinSource(slot.index),
        sourcePorts: [],
      };
    }
    const dualStack = host === "::" && native.getOption(slot.fd, SO.IPPROTO_IPV6, SO.IPV6_V6ONLY) === 0;
    return dualStack
      ? { kind: "tcp", host: "127.0.0.1", port, source: pinSource(slot.index), sourcePorts: [] }
      : {
          kind: "tcp",
          host: host === "::" ? "::1" : host,
          port,
          source: "::1",
          sourcePorts: pinPorts(slot.index),
        };
  }

  halfOpen(slot: Slot): ReadonlySet<string> {
    const mark = this.#options.nextMark === null ? 0 : slot.mark;
    return new Set(
      this.#connections(1 << TCP.SYN_RECV)
        .filter((entry) => mark === 0 || entry.mark === mark)
        .map(({ remoteHost, remotePort }) => `${remoteHost} ${remotePort}`),
    );
  }

  living(slot: Slot): number | null {
    if (this.#options.nextMark === null || slot.mark === 0) return null;
    const elsewhere = new Set(this.#slots.filter((other) => other !== slot).map(({ mark }) => mark));
    // Who is not accepted yet has no inode; what bears no slot's mark may be in any.
    return this.#connections(QUEUED).filter(({ inode, mark }) => inode === 0 && !elsewhere.has(mark)).length;
  }

  #connections(states: number): readonly DiagSocket[] {
    const { family, host, port } = this.#bound;
    const sockets = native.diagSockets(family, states, port);
    return host === "0.0.0.0" || host === "::"
      ? sockets
      : sockets.filter(({ localHost }) => localHost === host);
  }

  keep(): Promise<void> {
    return keepSlots(this, this.#options.keeper());
  }

  async close(): Promise<number> {
    let lost = 0;
    try {
      await this.#options.keeper().remove(this.#slots.map(({ index }) => slotName(this.name, index)));
    } finally {
      // The last first: closing another one would move the last into its place, under a program that does not know.
      for (const slot of this.#slots.splice(0).reverse()) {
        lost += slot.queue.length;
        slot.close();
      }
    }
    return lost;
  }
}

/** accept(2) that does not wait, on a socket that may be a blocking one: the loop must never hang in it. */
function acceptAtOnce(fd: number): number | null {
  const isBlocking = !native.isNonblocking(fd);
  if (isBlocking) native.setNonblocking(fd, true);
  try {
    return native.accept(fd);
  } finally {
    if (isBlocking) native.setNonblocking(fd, false);
  }
}

/** The kernel has no event for what is waited for here. */
function look(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}
