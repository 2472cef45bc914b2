/** Weights, gate and pin against the real kernel. */
import { describe, expect, it } from "vitest";
import { native, SO } from "../../handoff/native.ts";
import type { Listener } from "../../handoff/listener.ts";
import { lost, startLoad } from "../support/load.ts";
import { expectTableUnchanged } from "./native-support.ts";
import {
  closeListeners,
  closeServers,
  dial,
  openTcp,
  serve,
  spread,
  spreadOver,
  spreadPinned,
  tcpAddress,
  whereOf,
} from "./listener-support.ts";

expectTableUnchanged();
closeListeners();

const CONNECTIONS = 20_000;

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

describe.each(KINDS)("an address of the kind $kind", ({ address, via }) => {
  it.each([0.05, 0.5])(`gives a slot of weight %d its share of ${CONNECTIONS} connections`, async (share) => {
    const listener = await openTcp(address, 3);
    listener.steer([
      { slot: 0, share: 1 - share },
      { slot: 2, share },
    ]);
    const [first = 0, second, third = 0] = spreadOver(listener, CONNECTIONS, reach(listener, via));
    expect([second, first + third]).toEqual([0, CONNECTIONS]);
    expectShare(third, CONNECTIONS, share);
  });

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

it("1,000 weight changes under load fail no connection, and every slot gets some", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 3);
  const servers = await Promise.all([0, 1, 2].map((slot) => serve(listener, slot)));
  const load = startLoad({ target: listener.address, mode: "new", connections: 8 });
  await load.started;
  for (let change = 0; change < 1000; change++) {
    const share = (change % 21) / 20;
    listener.steer([
      { slot: change % 3, share },
      { slot: (change + 1) % 3, share: 1 - share },
    ]);
    await new Promise(setImmediate);
  }
  await Promise.all([0, 1, 2].map((generation) => load.sawGeneration(generation)));
  const report = await load.stop();
  expect(lost(report)).toEqual({ refused: 0, reset: 0, cut: 0, late: 0 });
  expect(report.ok).toBeGreaterThan(100);
  await closeServers(servers);
});
