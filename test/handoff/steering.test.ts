/** The compiler, by running what it compiles. What the kernel does with it: tcp-steering.test.ts. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compileSteering,
  MAX_SLOTS,
  PIN_PORT_BASE,
  PIN_PORTS_PER_SLOT,
  pinPorts,
  pinSource,
  WEIGHT_UNITS,
  type Share,
  type SteeringPlan,
} from "../../handoff/steering.ts";
import { type Network, parseNetwork } from "../../handoff/network.ts";
import { inet6Packet, inetPacket, LOOPBACK6, run, type Packet } from "./cbpf.ts";

const RUNS = 2000;

const NETWORKS = ["0.0.0.0/0", "127.0.0.0/8", "127.77.0.0/16", "10.0.0.0/8", "64.0.0.0/2", "127.77.0.3"];
const NETWORKS6 = ["::/0", "::/8", "::1", "::/127", "8000::/1", "2000::/3", "0:0:0:1::/64"];
const anyNetwork = fc.constantFrom(...NETWORKS, ...NETWORKS6).map((text) => parseNetwork(text));

/** A plan with shares in whole units, that sum to 1. */
const plan: fc.Arbitrary<SteeringPlan> = fc.integer({ min: 1, max: 12 }).chain((slots) =>
  fc.record({
    family: fc.constantFrom("inet" as const, "inet6" as const),
    slots: fc.constant(slots),
    shares: sharesOver(slots),
    pins: fc.boolean(),
  }),
);

/** The same, where clients may be told apart. */
const anyPlan: fc.Arbitrary<SteeringPlan> = plan.chain((one) =>
  fc.record({
    family: fc.constant(one.family),
    slots: fc.constant(one.slots),
    shares: fc.constant(one.shares),
    pins: fc.constant(one.pins),
    sticky: fc.oneof(fc.constant(null), fc.maxSafeNat()),
    guests: fc.oneof(
      fc.constant(null),
      fc.record({
        slot: fc.integer({ min: 0, max: one.slots - 1 }),
        networks: fc.array(anyNetwork, { maxLength: 6 }),
      }),
    ),
  }),
);

function sharesOver(slots: number): fc.Arbitrary<Share[]> {
  const all = Array.from({ length: slots }, (_, slot) => slot);
  return fc
    .record({
      chosen: fc.shuffledSubarray(all, { minLength: 1 }),
      cuts: fc.array(fc.integer({ min: 0, max: WEIGHT_UNITS }), {
        minLength: slots,
        maxLength: slots,
      }),
    })
    .map(({ chosen, cuts }) => {
      const bounds = [0, ...cuts.slice(0, chosen.length - 1).sort((x, y) => x - y), WEIGHT_UNITS];
      return chosen.map((slot, i) => ({
        slot,
        share: ((bounds[i + 1] ?? 0) - (bounds[i] ?? 0)) / WEIGHT_UNITS,
      }));
    });
}

const octet = fc.integer({ min: 0, max: 255 });
const random = fc.integer({ min: 0, max: 0xffff_ffff });
const port = fc.integer({ min: 1, max: 65535 });
const pinAddress = fc.tuple(octet, octet).map(([c, d]) => `127.77.${c}.${d}`);
const anyAddress = fc.tuple(octet, octet, octet, octet).map((parts) => parts.join("."));
const six = fc.oneof(
  fc.constant(LOOPBACK6),
  fc.array(octet, { minLength: 16, maxLength: 16 }),
  // Nearly ::1.
  fc.integer({ min: 0, max: 14 }).map((at) => LOOPBACK6.map((byte, i) => (i === at ? 1 : byte))),
);
const pinPort = fc.integer({ min: PIN_PORT_BASE - 2, max: 65535 });

const four: fc.Arbitrary<Packet> = fc
  .tuple(fc.oneof(pinAddress, anyAddress), random)
  .map(([source, drawn]) => inetPacket(source, drawn));
const anyPacket = (family: "inet" | "inet6"): fc.Arbitrary<Packet> =>
  family === "inet"
    ? four
    : fc.oneof(
        four,
        fc
          .tuple(six, fc.oneof(port, pinPort), random)
          .map(([source, from, drawn]) => inet6Packet(source, from, drawn)),
      );

const share = (slot: number, part: number): Share => ({ slot, share: part });

/** How often each slot is returned over all random numbers that the program can tell apart. */
function counts(of: SteeringPlan, packet: (random: number) => Packet): Map<number, number> {
  const program = compileSteering(of);
  const found = new Map<number, number>();
  for (let drawn = 0; drawn < WEIGHT_UNITS; drawn++) {
    const slot = run(program, packet(drawn));
    found.set(slot, (found.get(slot) ?? 0) + 1);
  }
  return found;
}

/** The slots with weight, in units. */
function units(shares: readonly Share[]): Map<number, number> {
  return new Map(
    shares
      .filter((one) => one.share > 0)
      .map((one) => [one.slot, Math.round(one.share * WEIGHT_UNITS)] as const),
  );
}

describe("whatever the plan and the packet", () => {
  it("the program never returns a slot that does not exist: the kernel would fall back to its hash", () => {
    const both = anyPlan.chain((one) => fc.tuple(fc.constant(one), anyPacket(one.family)));
    fc.assert(
      fc.property(both, ([one, packet]) => {
        expect(run(compileSteering(one), packet)).toBeLessThan(one.slots);
      }),
      { numRuns: RUNS },
    );
  });

  it("a pin reaches its slot; else a guest the guests' slot; else a slot is returned that has weight", () => {
    const both = anyPlan.chain((one) => fc.tuple(fc.constant(one), anyPacket(one.family)));
    fc.assert(
      fc.property(both, ([one, packet]) => {
        const slot = run(compileSteering(one), packet);
        const pinned = one.pins ? pinnedTo(packet) : null;
        if (pinned !== null && pinned >= 0 && pinned < one.slots) expect(slot).toBe(pinned);
        else if (one.guests?.networks.some((network) => isIn(packet, network)) === true) {
          expect(slot).toBe(one.guests.slot);
        } else expect([...units(one.shares).keys()]).toContain(slot);
      }),
      { numRuns: RUNS },
    );
  });

  it("without pins, where a connection comes from does not matter", () => {
    const both = plan.chain((one) => fc.tuple(fc.constant({ ...one, pins: false }), anyPacket(one.family)));
    fc.assert(
      fc.property(both, ([one, packet]) => {
        const elsewhere = inetPacket("192.0.2.1", packet.random);
        expect(run(compileSteering(one), packet)).toBe(run(compileSteering(one), elsewhere));
      }),
      { numRuns: RUNS },
    );
  });
});

/** What the design says of a packet: the slot whose pin it bears, or null. Not how the compiler does it. */
function pinnedTo({ bytes }: Packet): number | null {
  if (bytes[0] === 0x45) {
    const [a, b, c = 0, d = 0] = bytes.subarray(12, 16);
    return a === 127 && b === 77 ? c * 256 + d - 1 : null;
  }
  if (!LOOPBACK6.every((byte, i) => bytes[8 + i] === byte)) return null;
  const from = new DataView(bytes.buffer).getUint16(40);
  return Math.floor((from - PIN_PORT_BASE) / PIN_PORTS_PER_SLOT);
}

/** Whether the packet's source is in the network, bit by bit. */
function isIn({ bytes }: Packet, { family, words, prefix }: Network): boolean {
  const isInet = bytes[0] === 0x45;
  if (isInet !== (family === "inet")) return false;
  const bits = (each: number, width: number): string => each.toString(2).padStart(width, "0");
  const source = [...bytes.subarray(isInet ? 12 : 8, isInet ? 16 : 24)].map((byte) => bits(byte, 8)).join("");
  const network = words.map((word) => bits(word, 32)).join("");
  return source.slice(0, prefix) === network.slice(0, prefix);
}

it("over all random numbers each slot gets exactly its share", () => {
  fc.assert(
    fc.property(plan, (one) => {
      const packet = (drawn: number): Packet =>
        one.family === "inet" ? inetPacket("192.0.2.1", drawn) : inet6Packet(LOOPBACK6, 40_000, drawn);
      expect(counts(one, packet)).toEqual(units(one.shares));
    }),
    { numRuns: 100 },
  );
});

it("shares that are no whole units are rounded, 0 and 1 stay what they are, and none is lost", () => {
  const third = 1 / 3;
  const of = (...shares: Share[]): Map<number, number> =>
    counts({ family: "inet", slots: 3, pins: false, shares }, (drawn) => inetPacket("192.0.2.1", drawn));
  expect([...of(share(0, third), share(1, third), share(2, third)).values()].sort()).toEqual([
    3333, 3333, 3334,
  ]);
  expect(of(share(0, 0.00001), share(1, 0.99999))).toEqual(new Map([[1, 10_000]]));
  expect(of(share(0, 0), share(2, 1))).toEqual(new Map([[2, 10_000]]));
  expect(of(share(1, 0.0001), share(0, 0.9999))).toEqual(
    new Map([
      [1, 1],
      [0, 9999],
    ]),
  );
});

describe("a pin", () => {
  const base = { slots: 5, shares: [share(0, 0.5), share(4, 0.5)], pins: true } as const;

  it.each(["inet", "inet6"] as const)("127.77.0.N of an %s listener reaches slot N-1", (family) => {
    const program = compileSteering({ ...base, family });
    const reached = [0, 1, 2, 3, 4].map((slot) => run(program, inetPacket(pinSource(slot))));
    expect(reached).toEqual([0, 1, 2, 3, 4]);
    expect(pinSource(0)).toBe("127.77.0.1");
    expect(pinSource(255)).toBe("127.77.1.0");
  });

  it("of the last possible slot reaches it", () => {
    const all = { slots: MAX_SLOTS, shares: [share(0, 1)], pins: true };
    const last = MAX_SLOTS - 1;
    expect(run(compileSteering({ ...all, family: "inet" }), inetPacket(pinSource(last)))).toBe(last);
    for (const from of pinPorts(last)) {
      expect(from).toBeLessThanOrEqual(65_535);
      expect(run(compileSteering({ ...all, family: "inet6" }), inet6Packet(LOOPBACK6, from))).toBe(last);
    }
  });

  it("of no slot, or nearly a pin, gets what the weights say", () => {
    const program = compileSteering({ ...base, family: "inet6", shares: [share(3, 1)] });
    const sources = ["127.77.0.0", "127.77.0.6", "127.77.1.1", "127.77.255.255", "127.76.0.1", "126.77.0.1"];
    for (const source of [...sources, "127.78.0.1", "10.0.0.1"])
      expect(run(program, inetPacket(source))).toBe(3);
    for (const from of [PIN_PORT_BASE - 1, PIN_PORT_BASE + 5 * PIN_PORTS_PER_SLOT, 40_000, 65_535]) {
      expect(run(program, inet6Packet(LOOPBACK6, from))).toBe(3);
    }
    const other = LOOPBACK6.map((byte, i) => (i === 0 ? 0x20 : byte));
    expect(run(program, inet6Packet(other, PIN_PORT_BASE))).toBe(3);
  });

  it("over IPv6 is each of a slot's own ports, which no other slot has and the kernel gives to nobody", () => {
    const program = compileSteering({ ...base, family: "inet6" });
    const ports = [0, 1, 2, 3, 4].map((slot) => pinPorts(slot));
    expect(new Set(ports.flat()).size).toBe(5 * PIN_PORTS_PER_SLOT);
    ports.forEach((own, slot) => {
      for (const from of own) expect(run(program, inet6Packet(LOOPBACK6, from))).toBe(slot);
      expect(Math.min(...own)).toBeGreaterThan(60_999); // ip_local_port_range, as it is by default.
    });
  });
});

it.each<[string, SteeringPlan, string]>([
  ["no slot", { family: "inet", slots: 0, shares: [], pins: true }, "a pool of 0 slots"],
  ["too many slots", { family: "inet", slots: 257, shares: [share(0, 1)], pins: true }, "a pool of 257"],
  [
    "a slot that is not there",
    { family: "inet", slots: 2, shares: [share(2, 1)], pins: true },
    "slot 2 of 2",
  ],
  ["a negative slot", { family: "inet", slots: 2, shares: [share(-1, 1)], pins: true }, "slot -1 of 2"],
  ["too little", { family: "inet", slots: 2, shares: [share(0, 0.9)], pins: true }, "do not sum to 1"],
  ["nothing", { family: "inet", slots: 2, shares: [], pins: true }, "sum to 1"],
  [
    "a share that is none",
    { family: "inet", slots: 1, shares: [share(0, NaN)], pins: true },
    "a share of NaN",
  ],
  [
    "more than all",
    { family: "inet", slots: 2, shares: [share(0, 1.5), share(1, -0.5)], pins: true },
    "a share of 1.5",
  ],
  [
    "guests of a slot that is not there",
    { family: "inet", slots: 1, shares: [share(0, 1)], pins: true, guests: { slot: 1, networks: [] } },
    "guests of slot 1 of 1",
  ],
  [
    "a salt that is no whole number",
    { family: "inet", slots: 2, shares: [share(0, 0.5), share(1, 0.5)], pins: true, sticky: 0.5 },
    "a salt of 0.5",
  ],
])("a plan with %s is a bug and is said so", (_, of, reason) => {
  expect(() => compileSteering(of)).toThrow(reason);
});
