/** Weights, gate and pin against the real kernel. */
import { describe, expect, it } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { isFree, isReached, type Listener } from "../../handoff/listener.ts";
import { native, SO } from "../../handoff/native.ts";
import { MAX_NETWORKS, parseNetwork, parseNetworks } from "../../handoff/network.ts";
import type { SteerOptions } from "../../handoff/steering.ts";
import { TcpListener } from "../../handoff/tcp-listener.ts";
import { lost, startLoad } from "../support/load.ts";
import { expectTableUnchanged } from "./native-support.ts";
import {
  closeListeners,
  closeServers,
  dial,
  openTcp,
  options,
  serve,
  spread,
  spreadOver,
  spreadPinned,
  tcpAddress,
  whereOf,
} from "./listener-support.ts";

expectTableUnchanged();
closeListeners();

const CONNECTIONS = 40_000;

/** The listener's kinds, with the place from which clients reach each. */
const KINDS = [
  { kind: "IPv4", address: "tcp:127.0.0.1:0", via: "127.0.0.1" },
  { kind: "IPv4, all addresses", address: "tcp:0.0.0.0:0", via: "127.0.0.1" },
  { kind: "IPv6", address: "tcp:[::1]:0", via: "::1" },
  { kind: "dual-stack, by IPv6", address: "tcp:[::]:0", via: "::1" },
  { kind: "dual-stack, by IPv4", address: "tcp:[::]:0", via: "127.0.0.1" },
] as const;

function reach(listener: Listener, via: string): ReturnType<typeof tcpAddress> {
  const { port } = tcpAddress(listener.address);
  return { kind: "tcp", family: via.includes(":") ? "inet6" : "inet", host: via, port };
}

/** Whether `count` of `n` is what chance gives at `share`: within four standard errors (0 and 1 exactly). */
function expectShare(count: number, n: number, share: number): void {
  const allowed = 4 * Math.sqrt(n * share * (1 - share));
  expect(Math.abs(count - n * share), `${count} of ${n}, expected ${share}`).toBeLessThanOrEqual(allowed);
}

describe.each([
  { kind: "IPv4", address: "tcp:127.0.0.1:0", via: ["127.0.0.1"] },
  { kind: "IPv6", address: "tcp:[::1]:0", via: ["::1"] },
  { kind: "dual-stack, by both in turn", address: "tcp:[::]:0", via: ["::1", "127.0.0.1"] },
])("an address of the kind $kind", ({ address, via }) => {
  it.each([0.01, 0.05, 0.5])(
    `gives a slot of weight %d its share of ${CONNECTIONS} connections`,
    async (share) => {
      const listener = await openTcp(address, 3);
      listener.steer([
        { slot: 2, share },
        { slot: 0, share: 1 - share },
      ]);
      const fds = listener.slots.map(({ fd }) => fd);
      const where = via.map((host) => reach(listener, host));
      const [first = 0, second, third = 0] = spread(fds, CONNECTIONS, (n) => {
        return dial(where[n % where.length] ?? whereOf(listener));
      });
      expect([second, first + third]).toEqual([0, CONNECTIONS]);
      expectShare(third, CONNECTIONS, share);
    },
  );
});

describe.each(KINDS)("an address of the kind $kind", ({ address, via }) => {
  it("gives everything to a slot of weight 1, and nothing to the others, from the moment of the change", async () => {
    const listener = await openTcp(address, 3);
    const where = reach(listener, via);
    const fds = listener.slots.map(({ fd }) => fd);
    for (let change = 0; change < 1000; change++) {
      const slot = change % 3;
      listener.steer([{ slot, share: 1 }]);
      const expected = [0, 1, 2].map((each) => (each === slot ? 5 : 0));
      expect(spread(fds, 5, () => dial(where))).toEqual(expected);
    }
  });

  it("never gives one of 10,000 connections to a gated slot, and every pinned one", async () => {
    const listener = await openTcp(address, 3);
    listener.steer([
      { slot: 0, share: 0.5 },
      { slot: 2, share: 0.5 },
    ]);
    expect(spreadOver(listener, 10_000, reach(listener, via))[1]).toBe(0);
    expect(spreadPinned(listener, 1, 2_000)).toEqual([0, 2_000, 0]);
    expect(spreadPinned(listener, 2, 200)).toEqual([0, 0, 200]);
  });
});

it("an IPv6 listener that takes IPv6 only is pinned by ::1 and reserved ports", async () => {
  const listener = await openTcp("tcp:[::1]:0", 2);
  const [, gated] = listener.slots;
  const target = gated === undefined ? null : listener.probe(gated);
  expect(target).toMatchObject({ kind: "tcp", host: "::1", source: "::1" });
  const ports = target?.kind === "tcp" ? target.sourcePorts : [];
  expect(ports).toHaveLength(16);
  listener.steer([{ slot: 0, share: 1 }]);
  expect(spreadPinned(listener, 1, 2_000)).toEqual([0, 2_000]);
});

it("a dual-stack listener is pinned like an IPv4 one, and by ::1 with reserved ports as well", async () => {
  const listener = await openTcp("tcp:[::]:0", 3);
  const [first] = listener.slots;
  expect(native.getOption(first?.fd ?? -1, SO.IPPROTO_IPV6, SO.IPV6_V6ONLY)).toBe(0);
  listener.steer([{ slot: 0, share: 1 }]);
  const { port } = tcpAddress(listener.address);
  const fds = listener.slots.map(({ fd }) => fd);
  const pinned = spread(fds, 100, () =>
    dial({ family: "inet", host: "127.0.0.1", port }, { family: "inet", host: "127.77.0.3", port: 0 }),
  );
  expect(pinned).toEqual([0, 0, 100]);
  const six = spread(
    fds,
    32,
    (n) =>
      dial(
        { family: "inet6", host: "::1", port },
        { family: "inet6", host: "::1", port: 61_440 + 32 + (n % 16) },
      ),
    16,
  );
  expect(six).toEqual([0, 0, 32]);
});

it("an unknown pin gets what the weights say", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  listener.steer([{ slot: 1, share: 1 }]);
  const fds = listener.slots.map(({ fd }) => fd);
  for (const host of ["127.77.0.0", "127.77.0.3", "127.77.255.255", "127.76.0.1"]) {
    expect(spread(fds, 20, () => dial(whereOf(listener), { family: "inet", host, port: 0 }))).toEqual([
      0, 20,
    ]);
  }
});

it("where pins are not always honoured, they are while somebody asks for it, and not a moment longer", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2, { alwaysPinned: false });
  listener.steer([{ slot: 0, share: 1 }]);
  expect(spreadPinned(listener, 1, 100)).toEqual([100, 0]);
  {
    using _one = listener.honourPins();
    {
      using _other = listener.honourPins();
      expect(spreadPinned(listener, 1, 100)).toEqual([0, 100]);
    }
    expect(spreadPinned(listener, 1, 100)).toEqual([0, 100]);
    listener.steer([{ slot: 0, share: 1 }]);
    expect(spreadPinned(listener, 1, 100)).toEqual([0, 100]);
  }
  expect(spreadPinned(listener, 1, 100)).toEqual([100, 0]);
});

/** How weights are changed a thousand times: the share of the slot that grows, and what else holds. */
const CHANGES: Record<string, (change: number) => { share: number; options?: SteerOptions }> = {
  "at random": () => ({ share: Math.random() }),
  "up a ladder": (change) => ({ share: [0, 0.05, 0.5, 1][change % 4] ?? 0 }),
  "from all to nothing": (change) => ({ share: change % 2 }),
  "up a ladder, with sticky clients and guests": (change) => ({
    share: [0, 0.05, 0.5, 1][change % 4] ?? 0,
    options: {
      sticky: change,
      guests: { slot: change % 3, networks: parseNetworks(["127.0.1.0/26", "::1"]) },
    },
  }),
};

describe.each(Object.keys(CHANGES))("1,000 weight changes %s under load", (how) => {
  it.each([
    ["IPv4", "tcp:127.0.0.1:0"],
    ["IPv6", "tcp:[::1]:0"],
  ])("fail no connection over %s, and every slot gets some", async (_, address) => {
    const listener = await openTcp(address, 3);
    const servers = await Promise.all([0, 1, 2].map((slot) => serve(listener, slot)));
    const load = startLoad({ target: listener.address, mode: "new", connections: 8 });
    await load.started;
    for (let change = 0; change < 1000; change++) {
      const { share, options } = CHANGES[how]?.(change) ?? { share: 0 };
      const shares = [
        { slot: Math.floor(change / 4) % 3, share },
        { slot: Math.floor(change / 4 + 1) % 3, share: 1 - share },
      ];
      listener.steer(shares, options);
      await new Promise(setImmediate);
    }
    // A salt may leave one client with one slot for good.
    listener.steer([0, 1, 2].map((slot) => ({ slot, share: 1 / 3 })));
    await Promise.all([0, 1, 2].map((generation) => load.sawGeneration(generation)));
    const report = await load.stop();
    expect(lost(report)).toEqual({ refused: 0, reset: 0, cut: 0, late: 0 });
    expect(report.ok).toBeGreaterThan(100);
    await closeServers(servers);
  });
});

it("what is in force can be read, is replaced as a whole, and is what a resumed listener goes on with", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  const shares = [
    { slot: 1, share: 0.25 },
    { slot: 0, share: 0.75 },
  ];
  const guests = { slot: 1, networks: parseNetworks(["127.0.0.0/8"]) };
  listener.steer(shares, { sticky: 7, guests });
  expect(listener.steering).toEqual({ shares, sticky: 7, guests });
  expect(listener.shares).toEqual(shares);
  const kept = listener.slots.map(({ fd }) => new Descriptor(native.duplicate(fd)));
  const resumed = TcpListener.resume(options(listener.address), kept, shares, { sticky: 7, guests });
  expect(resumed.steering).toEqual(listener.steering);
  for (const descriptor of kept) descriptor.close();

  // Other reasons to attach a program leave it as it is.
  const { length } = listener.slots;
  await listener.take("test/2");
  expect(listener.slots).toHaveLength(length + 1);
  expect(listener.steering).toEqual({ shares, sticky: 7, guests });
  expect(spreadOver(listener, 100)).toEqual([0, 100, 0]);
  listener.steer(shares);
  expect(listener.steering).toEqual({ shares, sticky: null, guests: null });
  expect(spreadOver(listener, 200)[0]).toBeGreaterThan(50);
});

it("a program that the kernel does not get leaves the one before in force", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  const shares = [{ slot: 1, share: 1 }];
  listener.steer(shares);
  const before = listener.steering;
  const networks = Array.from({ length: MAX_NETWORKS + 1 }, (_, n) => `127.0.${n}.0/24`).map((text) =>
    parseNetwork(text),
  );
  expect(() => listener.steer([{ slot: 0, share: 1 }], { guests: { slot: 0, networks } })).toThrow(
    "too many",
  );
  expect(() => listener.steer([{ slot: 2, share: 1 }])).toThrow("slot 2 of 2");
  expect(listener.steering).toBe(before);
  expect(spreadOver(listener, 100)).toEqual([0, 100]);
});

it("a slot that has guests is not given away, nor is one that they have only just left while they may still be on their way", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  const [, second] = listener.slots;
  if (second === undefined) throw new Error("two slots");
  second.owner = null;
  listener.steer([{ slot: 0, share: 1 }], { guests: { slot: 1, networks: parseNetworks(["10.0.0.0/8"]) } });
  expect([isReached(listener.steering, 1), isFree(listener, second), second.isSettled]).toEqual([
    true,
    false,
    false,
  ]);
  expect((await listener.take("test/2")).index).toBe(2);
  listener.steer([{ slot: 0, share: 1 }], { guests: { slot: 1, networks: [] } });
  expect([isReached(listener.steering, 1), isFree(listener, second)]).toEqual([false, true]);
});

it("the backlog of every slot changes while it lives: for what waits, for new slots, and after an owner changed it", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2, { backlog: 64 });
  const waiting = [0, 1, 2].map(() => dial(whereOf(listener)));
  const limits = (): number[] => listener.slots.map(({ queue }) => queue.limit);
  expect(limits()).toEqual([64, 64]);
  listener.setBacklog(7);
  expect([listener.backlog, ...limits()]).toEqual([7, 7, 7]);
  expect(listener.slots[0]?.queue.length).toBe(3);
  native.listen(listener.slots[1]?.fd ?? -1, 511); // As Node does.
  listener.slots[1]?.assertBacklog(listener.backlog);
  await listener.take("test/2");
  expect(limits()).toEqual([7, 7, 7]);
  listener.setBacklog(128);
  expect([listener.backlog, ...limits()]).toEqual([128, 128, 128, 128]);
  // A member that listens again keeps its place in the group.
  for (const slot of [0, 1, 2]) {
    listener.steer([{ slot, share: 1 }]);
    expect(spreadOver(listener, 20)[slot]).toBeGreaterThanOrEqual(20);
  }
  for (const client of waiting) client.close();
});
