/** Who connects decides: sticky clients and guests, against the real kernel. */
import { describe, expect, it } from "vitest";
import { MAX_NETWORKS } from "../../handoff/network.ts";
import type { Share } from "../../handoff/steering.ts";
import { expected, reached, type Step } from "./clients.ts";

const CLIENTS = 2_000;
const TIMES = 3;
const SALT = 3;

/** The candidate, which grows, and the previous generation. */
const CANDIDATE = 2;
const PREVIOUS = 0;

function range(length: number): number[] {
  return Array.from({ length }, (_, n) => n);
}

function sharesOf(candidate: number): Share[] {
  return [
    { slot: CANDIDATE, share: candidate },
    { slot: PREVIOUS, share: 1 - candidate },
  ];
}

const hex = (n: number): string => n.toString(16);
const inet = range(CLIENTS).map((n) =>
  n % 8 === 0 ? `203.0.113.${n / 8 + 1}` : `10.${n % 7}.${n >> 8}.${n & 255}`,
);
/** Half of them networks of their own, half of them hosts of one local network. */
const inet6 = range(CLIENTS).map((n) =>
  n % 2 === 0 ? `2001:db8:${hex(n)}:7::${hex(n + 1)}` : `fd00::${hex(n)}`,
);

describe.each([
  { kind: "IPv4", address: "tcp:0.0.0.0:0", sources: inet },
  { kind: "IPv6", address: "tcp:[::1]:0", sources: inet6 },
  { kind: "dual-stack, by IPv6", address: "tcp:[::]:0", sources: inet6 },
  { kind: "dual-stack, by IPv4", address: "tcp:[::]:0", sources: inet },
])(`${CLIENTS} sticky clients of a listener of the kind $kind`, ({ address, sources }) => {
  it("are on one generation each at any weight, go to the candidate as it grows, and none comes back", async () => {
    const weights = [0.05, 0.25, 0.5, 0.9, 1];
    const steps = weights.map((weight): Step => {
      return { shares: sharesOf(weight), sticky: SALT, guests: null, sources, times: TIMES };
    });
    const found = await reached(address, 3, steps);

    const split = found.map((step) =>
      step.filter((slots) => new Set(slots).size > 1 || slots.length !== TIMES),
    );
    expect(split).toEqual(weights.map(() => []));
    const moved = found.map((step, at) =>
      (found[at - 1] ?? []).filter(([slot], n) => slot === CANDIDATE && step[n]?.[0] !== CANDIDATE),
    );
    expect(moved).toEqual(weights.map(() => []));
    weights.forEach((weight, at) => {
      const count = found[at]?.filter(([slot]) => slot === CANDIDATE).length ?? 0;
      const allowed = 4 * Math.sqrt(CLIENTS * weight * (1 - weight));
      expect(Math.abs(count - CLIENTS * weight), `${count} at ${weight}`).toBeLessThanOrEqual(allowed);
    });
    const said = steps.map((step) => expected(address, 3, step));
    expect(found.map((step) => step.map(([slot]) => slot))).toEqual(said);
  });
});

it("a client that changes its address in its own /64 stays where it is", async () => {
  const networks = range(20).map((n) => `2001:db8:0:${hex(n)}`);
  const sources = networks.flatMap((network) =>
    range(20).map((n) => `${network}:${hex(n * 3001)}:0:1:${hex(n)}`),
  );
  const [found = []] = await reached("tcp:[::]:0", 3, [
    { shares: sharesOf(0.5), sticky: SALT, guests: null, sources, times: 1 },
  ]);
  const places = networks.map((_, at) => new Set(found.slice(at * 20, at * 20 + 20).flat()).size);
  expect(places).toEqual(networks.map(() => 1));
});

describe("guests", () => {
  const guests = {
    slot: CANDIDATE,
    networks: [
      "10.1.0.0/16",
      "203.0.113.128/25",
      "203.0.113.7",
      "2001:db8:1::/48",
      "fd00::/126",
      "127.77.0.0/16",
    ],
  };
  const six = ["2001:db8:1::1", "2001:db8:1:ffff::1", "fd00::3"];
  const four = ["10.1.0.1", "10.1.255.255", "203.0.113.128", "203.0.113.255", "203.0.113.7"];
  const strangers6 = ["2001:db8:2::1", "2001:db8::1", "fd00::4", "::1"];
  const strangers = ["10.0.255.255", "10.2.0.0", "203.0.113.127", "203.0.113.6", "203.0.113.8", "127.0.0.1"];

  it.each([
    ["IPv4", "tcp:0.0.0.0:0", four, strangers],
    ["IPv6", "tcp:[::1]:0", six, strangers6],
    ["dual-stack", "tcp:[::]:0", [...six, ...four], [...strangers6, ...strangers]],
  ])("of a listener for %s reach the gated candidate, all and alone", async (_, address, invited, others) => {
    const shares: Share[] = [0, 1].map((slot) => ({ slot, share: 0.5 }));
    for (const sticky of [null, SALT]) {
      const step = { shares, sticky, guests, sources: [...invited, ...others], times: 50 };
      const [found = [], later = []] = await reached(address, 3, [step, { ...step, guests: null }]);
      const [theirs, rest] = [found.slice(0, invited.length), found.slice(invited.length)];
      expect(theirs.map((slots) => [...new Set(slots)])).toEqual(invited.map(() => [CANDIDATE]));
      expect(new Set(rest.flat())).toEqual(new Set([0, 1]));
      expect(new Set(later.flat()), "no longer").toEqual(new Set([0, 1]));
    }
  });

  it("that have a pin's address reach the pin's slot: a verification stays one", async () => {
    for (const address of ["tcp:0.0.0.0:0", "tcp:[::]:0"]) {
      const [found = []] = await reached(address, 3, [
        {
          shares: sharesOf(0),
          sticky: SALT,
          guests,
          sources: ["127.77.0.1", "127.77.0.2", "127.77.0.4"],
          times: 20,
        },
      ]);
      expect(found.map((slots) => [...new Set(slots)])).toEqual([[0], [1], [CANDIDATE]]);
    }
  });

  it("of as many networks as there may be are found, and the kernel does what the interpreter says", async () => {
    const half = range(MAX_NETWORKS / 2);
    const networks = [
      ...half.map((n) => `10.${n}.${n}.${(n & 15) * 16}/${28 + (n % 5)}`.replace(/\.\d+\/32/u, ".5")),
      ...half.map(
        (n) => `2001:db8:${hex(n)}:${hex(n)}::${hex((n & 3) * 4)}/${[126, 127, 112, 64][n & 3] ?? 0}`,
      ),
    ].map((network) => network.replace(/::[\da-f]+\/(112|64)$/u, "::/$1"));
    const sources = range(1500).flatMap((n) => [
      `10.${n % 64}.${n % 64}.${(n * 7) & 255}`,
      `2001:db8:${hex(n % 64)}:${hex(n % 64)}::${hex((n * 5) % 19)}`,
    ]);
    const step = { shares: sharesOf(0.3), sticky: SALT, guests: { slot: 1, networks }, sources, times: 1 };
    const [found = []] = await reached("tcp:[::]:0", 3, [step]);
    const said = expected("tcp:[::]:0", 3, step);
    expect(found.flat()).toEqual(said);
    for (const slot of [0, 1, 2]) expect(said.filter((each) => each === slot).length).toBeGreaterThan(200);
  });
});
