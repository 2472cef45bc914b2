/** The hash of a client's address, by running what is compiled. What the kernel does with it: tcp-sticky.test.ts. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileSteering, type Share, WEIGHT_UNITS } from "../../handoff/steering.ts";
import { inet6Packet, inetPacket, packetFrom, run, type Packet } from "./cbpf.ts";

const SALT = 20_260;
const MANY = 10_000;
const FOUR_ERRORS = 4;

/**
 * The program for these shares, the first of which is the one that grows. Their slots are 1, 2, … and 0 for the last, so
 * that the order of the shares is not that of the slots.
 */
function programOf(shares: readonly number[], sticky: number | null = SALT): Uint8Array {
  const slots = shares.map((share, at): Share => ({ slot: (at + 1) % shares.length, share }));
  return compileSteering({ family: "inet6", slots: shares.length, shares: slots, pins: true, sticky });
}

/** Which of the shares, by its place in the list, a client's connection falls to. */
function fall(program: Uint8Array, shares: readonly number[], packet: Packet): number {
  return (run(program, packet) - 1 + shares.length) % shares.length;
}

function place(packet: Packet, shares: readonly number[], sticky = SALT): number {
  return fall(programOf(shares, sticky), shares, packet);
}

function range(length: number): number[] {
  return Array.from({ length }, (_, n) => n);
}

/** How many of the clients each share gets. */
function counts(clients: readonly Packet[], shares: readonly number[], sticky = SALT): number[] {
  const program = programOf(shares, sticky);
  const found = shares.map(() => 0);
  for (const client of clients) {
    const at = fall(program, shares, client);
    found[at] = (found[at] ?? 0) + 1;
  }
  return found;
}

const octet = fc.integer({ min: 0, max: 255 });
const four = fc.tuple(octet, octet, octet, octet).map((parts) => inetPacket(parts.join(".")));
const six = fc
  .array(octet, { minLength: 16, maxLength: 16 })
  .map((bytes) => inet6Packet(bytes, 40_000))
  .filter(({ bytes }) => bytes.subarray(8, 23).some((byte) => byte !== 0));
const client = fc.oneof(
  four.filter(({ bytes }) => bytes[12] !== 127),
  six,
);
const salt = fc.maxSafeNat();
/** Evenly spread, as fc.double is not: most of its numbers are next to 0. */
const part = fc.integer({ min: 0, max: 1_000_000 }).map((n) => n / 1_000_000);

/** Clients as they come: neighbours, strides, networks. None of this is random. */
const CLIENTS: readonly (readonly [string, (n: number) => Packet])[] = [
  ["neighbours in 10.0.0.0/8", (n) => inetPacket(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`)],
  ["the first host of each /24", (n) => inetPacket(`${11 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}.1`)],
  ["hosts 0.0.0.0 and on", (n) => inetPacket(`0.${n >> 16}.${(n >> 8) & 255}.${n & 255}`)],
  [
    "neighbouring /64 networks",
    (n) => packetFrom(`2001:db8:${(n >> 12).toString(16)}:${(n & 4095).toString(16)}::1`),
  ],
  [
    "the first /64 of each /48",
    (n) => packetFrom(`2600:${(n >> 8).toString(16)}:${(n & 255).toString(16)}::1`),
  ],
  ["neighbours in one local /64", (n) => packetFrom(`fd00::${n.toString(16)}`)],
  ["neighbours in 64:ff9b::/96", (n) => packetFrom(`64:ff9b::a00:${n.toString(16)}`)],
];

describe.each(CLIENTS)(`the hash of %s (${MANY})`, (_, nth) => {
  const clients = range(MANY).map((n) => nth(n));

  it.each([0.01, 0.05, 0.5])("gives a share of %d its part", (share) => {
    for (const sticky of [0, 1, SALT]) {
      const [first = 0] = counts(clients, [share, 1 - share], sticky);
      const error = Math.sqrt(MANY * share * (1 - share));
      expect(Math.abs(first - MANY * share), `${first}, salt ${sticky}`).toBeLessThanOrEqual(
        FOUR_ERRORS * error,
      );
    }
  });

  it("fills fifty equal ranges evenly (chi-square)", () => {
    const ranges = 50;
    const expected = MANY / ranges;
    const found = counts(
      clients,
      range(ranges).map(() => 1 / ranges),
      SALT,
    );
    const chiSquare = found.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // Its mean is the degrees of freedom, its variance twice that.
    expect(Math.abs(chiSquare - (ranges - 1))).toBeLessThanOrEqual(FOUR_ERRORS * Math.sqrt(2 * (ranges - 1)));
  });

  it("under another salt has nothing to do with it: of two halves, the common part is a quarter", () => {
    for (const [one, other] of [
      [0, 1],
      [SALT, SALT + 1],
      [SALT, SALT + 2 ** 40],
    ] as const) {
      const [half, otherHalf] = [one, other].map((sticky) => programOf([0.5, 0.5], sticky));
      if (half === undefined || otherHalf === undefined) throw new Error("two programs");
      const both = clients.filter((each) => run(half, each) === 1 && run(otherHalf, each) === 1).length;
      const error = Math.sqrt(MANY * 0.25 * 0.75);
      expect(Math.abs(both - MANY / 4), `${both}, salts ${one} ${other}`).toBeLessThanOrEqual(
        FOUR_ERRORS * error,
      );
    }
  });
});

describe("a client", () => {
  it("that is on the share that grows never leaves it, whatever becomes of the others", () => {
    const shares = fc
      .tuple(part, part)
      .map(([first, part]): number[] => [first, (1 - first) * part, (1 - first) * (1 - part)]);
    fc.assert(
      fc.property(client, salt, shares, shares, (who, sticky, one, other) => {
        const [less, more] = (one[0] ?? 0) <= (other[0] ?? 0) ? [one, other] : [other, one];
        if (place(who, less, sticky) === 0) expect(place(who, more, sticky)).toBe(0);
      }),
      { numRuns: 4000 },
    );
  });

  it("is not moved back by the rounding of the other shares: the first range never shrinks", () => {
    const unit = fc.integer({ min: 0, max: WEIGHT_UNITS - 1 });
    /** The end of the first range, by bisection over the numbers that a random draw may give. */
    const endOf = (first: number, of: number): number => {
      const program = programOf([first, (1 - first) * of, (1 - first) * (1 - of)], null);
      let [low, high] = [0, WEIGHT_UNITS];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (run(program, inetPacket("192.0.2.1", middle)) === 1) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    fc.assert(
      fc.property(unit, part, part, part, part, (whole, one, other, of, otherOf) => {
        const [less, more] = [Math.min(one, other), Math.max(one, other)];
        const end = endOf((whole + less) / WEIGHT_UNITS, of);
        expect(endOf((whole + more) / WEIGHT_UNITS, otherOf)).toBeGreaterThanOrEqual(end);
        expect(Math.abs(end - whole - less)).toBeLessThan(0.51);
      }),
      { numRuns: 2000 },
    );
  });

  it("moves once at most while a share grows from 0 to 1, and not while it stays", () => {
    fc.assert(
      fc.property(client, salt, fc.integer({ min: 1, max: 400 }), (who, sticky, steps) => {
        const places = range(steps + 1).map((step) => place(who, [step / steps, 1 - step / steps], sticky));
        const moves = places.filter((slot, at) => at > 0 && slot !== places[at - 1]).length;
        expect([places[0], moves, places.at(-1)]).toEqual([1, 1, 0]);
      }),
      { numRuns: 200 },
    );
  });

  it("finds the shares in their order: two that stand side by side are as one", () => {
    fc.assert(
      fc.property(client, salt, (who, sticky) => {
        const apart = place(who, [0.2, 0.3, 0.1, 0.4], sticky);
        expect(place(who, [0.5, 0.5], sticky)).toBe(apart <= 1 ? 0 : 1);
        expect(place(who, [0.2, 0.8], sticky)).toBe(apart === 0 ? 0 : 1);
      }),
      { numRuns: 1000 },
    );
  });

  it("has one place on a listener for IPv4 and on a dual-stack one, and at any port", () => {
    const plan = { slots: 2, shares: [0, 1].map((slot): Share => ({ slot, share: 0.5 })), pins: true };
    fc.assert(
      fc.property(four, salt, (who, sticky) => {
        const [inet, inet6] = (["inet", "inet6"] as const).map((family) =>
          run(compileSteering({ ...plan, family, sticky }), who),
        );
        expect(inet).toBe(inet6);
      }),
      { numRuns: 1000 },
    );
    for (const port of [1, 40_000, 65_535]) {
      expect(place(packetFrom("fd00::7", 0, port), [0.5, 0.5])).toBe(
        place(packetFrom("fd00::7"), [0.5, 0.5]),
      );
    }
  });

  it("that changes its address within its /64 stays, where the /64 is its own; in a local one each has its place", () => {
    const halves = [0.5, 0.5];
    const hosts = range(200).map((n) => `${(n * 977).toString(16)}:1:2:${(n * 31).toString(16)}`);
    const placesIn = (prefix: string): Set<number> =>
      new Set(hosts.map((host) => place(packetFrom(`${prefix}:${host}`), halves)));
    for (const prefix of ["2001:db8:1:2", "2a02:8071:1234:5678", "3fff:0:0:1", "2000:0:0:0"]) {
      expect(placesIn(prefix).size).toBe(1);
    }
    for (const prefix of ["fd00:0:0:1", "fe80:0:0:0", "4000:0:0:0", "1fff:0:0:1"]) {
      expect(placesIn(prefix).size).toBe(2);
    }
  });
});
