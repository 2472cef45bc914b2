/** What the tests of the listeners share: options, a keeper that remembers, and connections by the thousand. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterEach, beforeEach } from "vitest";
import { parseAddress, type TcpAddress } from "../../handoff/address.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import type { Keeper } from "../../handoff/keeper.ts";
import type { Listener, ListenerOptions, ProbeTarget } from "../../handoff/listener.ts";
import { native, SO, type InetAddress } from "../../handoff/native.ts";
import type { Slot } from "../../handoff/slot.ts";
import { TcpListener } from "../../handoff/tcp-listener.ts";

const BATCH = 200;
const X = new Uint8Array(1);

/** Holds duplicates, as a keeper does, and writes down what it was asked. */
export class FakeKeeper implements Keeper {
  readonly asked: string[] = [];
  readonly held = new Map<string, Descriptor>();
  /** Called before a request is carried out; what it throws is the keeper's failure. */
  before: (request: string) => void | Promise<void> = () => undefined;

  async put(name: string, fd: number): Promise<void> {
    await this.#ask(`put ${name}`);
    this.held.get(name)?.close();
    this.held.set(name, new Descriptor(native.duplicate(fd)));
  }

  async remove(names: readonly string[]): Promise<void> {
    await this.#ask(`remove ${names.join(" ")}`);
    for (const name of names) {
      this.held.get(name)?.close();
      this.held.delete(name);
    }
  }

  list(): Promise<Map<string, Descriptor>> {
    return Promise.resolve(new Map([...this.held].map(([name, one]) => [name, one.duplicate()])));
  }

  release(): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  close(): void {
    for (const one of this.held.values()) one.close();
    this.held.clear();
  }

  async #ask(request: string): Promise<void> {
    this.asked.push(request);
    await this.before(request);
  }
}

let keeper = new FakeKeeper();
const opened: Listener[] = [];

/** The keeper of the running test's listeners. */
export function theKeeper(): FakeKeeper {
  return keeper;
}

/** Every listener of the file's tests is closed after its test. To be called after `expectTableUnchanged`. */
export function closeListeners(): void {
  beforeEach(() => {
    keeper = new FakeKeeper();
  });
  afterEach(async () => {
    keeper.before = () => undefined;
    for (const listener of opened.splice(0)) await listener.close();
    keeper.close();
  });
}

/** Has the listener closed after the test. */
export function tracked<T extends Listener>(listener: T): T {
  opened.push(listener);
  return listener;
}

let lastMark = 0;

/** Marks of this process, which no two slots share. */
export function nextMark(): number {
  return 0x5e57_0000 | ++lastMark;
}

export function options(address: string, more: Partial<ListenerOptions> = {}): ListenerOptions {
  return {
    name: "web",
    address: parseAddress(address),
    backlog: 1024,
    mode: null,
    gid: null,
    nextMark,
    keeper: () => keeper,
    alwaysPinned: true,
    holderOf: () => null,
    ...more,
  };
}

/** A TCP listener at `address`, usually with port 0, and with `slots` slots, which "test/0", "test/1", … have. */
export async function openTcp(
  address: string,
  slots = 1,
  more: Partial<ListenerOptions> = {},
): Promise<TcpListener> {
  const listener = tracked(await TcpListener.open(options(address, more), tcpAddress(address)));
  for (let i = 0; i < slots; i++) await takeNext(listener, `test/${i}`);
  return listener;
}

/** The slot with weight is nobody's to take; here the first owner gets it, as a service gives it to its first generation. */
async function takeNext(listener: TcpListener, owner: string): Promise<void> {
  const [first] = listener.slots;
  if (first?.owner === null && listener.slots.length === 1) first.owner = owner;
  else await listener.take(owner);
}

export function tcpAddress(address: string): TcpAddress {
  const parsed = parseAddress(address);
  if (parsed.kind !== "tcp") throw new Error(`${address} is no TCP address`);
  return parsed;
}

/** Where clients connect to. */
export function whereOf(listener: Listener): TcpAddress {
  const bound = tcpAddress(listener.address);
  return { ...bound, host: bound.host === "0.0.0.0" ? "127.0.0.1" : bound.host.replace(/^::$/, "::1") };
}

/** A listening socket that is not the daemon's, in the group of `where` if `reuse`. */
export function foreign(where: InetAddress, reuse = true): Descriptor {
  const descriptor = new Descriptor(native.socket(where.family, "stream", false));
  if (reuse) native.setOption(descriptor.fd, SO.SOL_SOCKET, SO.SO_REUSEPORT, 1);
  native.bind(descriptor.fd, where);
  native.listen(descriptor.fd, 1024);
  return descriptor;
}

/** One connection, complete as far as the client can see. */
export function dial(where: InetAddress, from?: InetAddress): Descriptor {
  const client = new Descriptor(native.socket(where.family, "stream", false));
  try {
    if (from !== undefined) native.bind(client.fd, from);
    native.connect(client.fd, where);
    return client;
  } catch (error) {
    client.close();
    throw error;
  }
}

/** The source of the n-th connection that is pinned to a slot. */
export function pinOf(target: ProbeTarget, n: number): { where: InetAddress; from: InetAddress } {
  if (target.kind !== "tcp") throw new Error("a pin is TCP's");
  const { host, port, source, sourcePorts } = target;
  const family = host.includes(":") ? "inet6" : "inet";
  return {
    where: { family, host, port },
    from: {
      family,
      host: source,
      port: sourcePorts.length === 0 ? 0 : (sourcePorts[n % sourcePorts.length] ?? 0),
    },
  };
}

/** What waits on these sockets now: accepted, counted, and reset (for the client has sent a byte that nobody reads). */
export function acceptAll(sockets: readonly number[]): number[] {
  return sockets.map((fd) => {
    const blocking = !native.isNonblocking(fd);
    native.setNonblocking(fd, true);
    let count = 0;
    for (let one; (one = native.accept(fd)) !== null; count++) native.close(one);
    if (blocking) native.setNonblocking(fd, false);
    return count;
  });
}

/**
 * Connects `n` times and returns how many of the connections each of the sockets got. Connections end by a reset, so that no
 * port is left in TIME_WAIT.
 */
export function spread(
  sockets: readonly number[],
  n: number,
  connect: (index: number) => Descriptor,
  batch = BATCH,
): number[] {
  const counts = sockets.map(() => 0);
  for (let done = 0; done < n;) {
    const clients = Array.from({ length: Math.min(batch, n - done) }, (_, i) => connect(done + i));
    for (const client of clients) native.sendMessage(client.fd, X, []);
    const until = performance.now() + 5_000;
    // The server's end may be queued a moment after the client's is connected.
    for (let left = clients.length; left > 0;) {
      acceptAll(sockets).forEach((count, i) => {
        counts[i] = (counts[i] ?? 0) + count;
        left -= count;
      });
      if (performance.now() > until) throw new Error(`${left} connections arrived nowhere`);
    }
    for (const client of clients) client.close();
    done += clients.length;
  }
  return counts;
}

/** `spread` over the slots of a listener, by ordinary clients. */
export function spreadOver(listener: Listener, n: number, where = whereOf(listener)): number[] {
  return spread(
    listener.slots.map(({ fd }) => fd),
    n,
    () => dial(where),
  );
}

/** `spread` over the slots of a listener, by clients that are pinned to one of them. */
export function spreadPinned(listener: Listener, slot: number, n: number): number[] {
  const target = listener.probe(listener.slots[slot] as Slot);
  const pinned = (index: number): Descriptor => {
    const { where, from } = pinOf(target, index);
    return dial(where, from);
  };
  const fds = listener.slots.map(({ fd }) => fd);
  // An IPv6 pin has 16 source ports, and each can be in use once.
  return spread(fds, n, pinned, target.kind === "tcp" && target.sourcePorts.length > 0 ? 16 : BATCH);
}

/** An HTTP server on a slot, as an application would be: it answers with the slot's number. */
export async function serve(listener: Listener, slot: number): Promise<Server> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { "x-generation": String(slot), connection: "close" }).end("ok");
  });
  server.listen({ fd: native.duplicate(listener.slots[slot]?.fd ?? -1) });
  await once(server, "listening");
  return server;
}

export async function closeServers(servers: readonly Server[]): Promise<void> {
  const closed = servers.map((server) => once(server, "close"));
  for (const server of servers) server.close();
  await Promise.all(closed);
}
