/** Networks of clients, by running what is compiled. That pins go first and the rest follows the weights: steering.test.ts. */
import { expect, it } from "vitest";
import { MAX_NETWORKS, parseNetwork } from "../../handoff/network.ts";
import { compileSteering, type SteeringPlan } from "../../handoff/steering.ts";
import { packetFrom, run } from "./cbpf.ts";

const ELSEWHERE = 0;
const GUESTS = 2;

function plan(family: "inet" | "inet6", networks: readonly string[]): SteeringPlan {
  return {
    family,
    slots: 3,
    shares: [{ slot: ELSEWHERE, share: 1 }],
    pins: true,
    guests: { slot: GUESTS, networks: networks.map((text) => parseNetwork(text)) },
  };
}

function reached(of: SteeringPlan, source: string): number {
  return run(compileSteering(of), packetFrom(source));
}

it.each([
  ["10.1.0.0/16", ["10.1.0.0", "10.1.255.255"], ["10.0.255.255", "10.2.0.0", "11.1.0.0"]],
  ["10.1.2.3", ["10.1.2.3"], ["10.1.2.2", "10.1.2.4", "3.2.1.10"]],
  ["128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255", "0.0.0.0"]],
  ["203.0.113.128/25", ["203.0.113.128", "203.0.113.255"], ["203.0.113.127", "203.0.114.128"]],
  ["0.0.0.0/0", ["0.0.0.0", "127.0.0.1", "255.255.255.255"], []],
])(
  "an IPv4 network, %s, has its first and last address in it and their neighbours not",
  (network, inside, outside) => {
    for (const family of ["inet", "inet6"] as const) {
      const of = plan(family, [network]);
      expect(inside.map((source) => reached(of, source))).toEqual(inside.map(() => GUESTS));
      expect(outside.map((source) => reached(of, source))).toEqual(outside.map(() => ELSEWHERE));
    }
  },
);

it.each([
  [
    "2001:db8::/32",
    ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
    ["2001:db7:ffff::", "2001:db9::"],
  ],
  ["2001:db8::/33", ["2001:db8:7fff:ffff::1"], ["2001:db8:8000::"]],
  [
    "2001:db8:0:1::/64",
    ["2001:db8:0:1::", "2001:db8:0:1:ffff:ffff:ffff:ffff"],
    ["2001:db8:0:2::", "2001:db8::1"],
  ],
  ["fd00::1:0/112", ["fd00::1:0", "fd00::1:ffff"], ["fd00::2:0", "fd00::ffff", "fd00:0:0:0:1::1:0"]],
  ["fd00::1", ["fd00::1"], ["fd00::", "fd00::2", "fd00:1::1", "fd00:0:1::1", "fd00:0:0:0:0:1:0:1"]],
  ["8000::/1", ["8000::", "ffff::1"], ["7fff::", "::1"]],
  ["::/0", ["::1", "2001:db8::1"], []],
])(
  "an IPv6 network, %s, has its first and last address in it and their neighbours not",
  (network, inside, outside) => {
    const of = plan("inet6", [network]);
    expect(inside.map((source) => reached(of, source))).toEqual(inside.map(() => GUESTS));
    expect(outside.map((source) => reached(of, source))).toEqual(outside.map(() => ELSEWHERE));
  },
);

it("an IPv6 network has no IPv4 client in it, and an IPv4 one no IPv6 client, not even the same bits", () => {
  const four = plan("inet6", ["0.0.0.0/0"]);
  expect([reached(four, "10.1.2.3"), reached(four, "::1")]).toEqual([GUESTS, ELSEWHERE]);
  const six = plan("inet6", ["::/0"]);
  expect([reached(six, "10.1.2.3"), reached(six, "::1")]).toEqual([ELSEWHERE, GUESTS]);
  const bits = plan("inet6", ["0a01:0203::/32"]);
  expect([reached(bits, "10.1.2.3"), reached(bits, "a01:203::1")]).toEqual([ELSEWHERE, GUESTS]);
});

it("every one of many networks counts, of either family, the last as the first", () => {
  const half = MAX_NETWORKS / 2;
  const numbers = Array.from({ length: half }, (_, n) => n);
  const of = plan("inet6", [
    ...numbers.map((n) => (n % 2 === 0 ? `200.${n}.0.0/16` : `200.${n}.7.128/25`)),
    ...numbers.map((n) => (n % 2 === 0 ? `2001:db8:${n}::/48` : `fd00::${n}:0:0:4/126`)),
  ]);
  for (const n of numbers) {
    const [four, six] =
      n % 2 === 0 ? [`200.${n}.255.1`, `2001:db8:${n}:1::1`] : [`200.${n}.7.255`, `fd00::${n}:0:0:7`];
    expect([reached(of, four), reached(of, six)]).toEqual([GUESTS, GUESTS]);
  }
  for (const source of ["201.1.7.129", "200.1.7.127", "2001:db9::1", "fd00::1:0:0:8", "fd00::1:0:1:4"]) {
    expect(reached(of, source)).toBe(ELSEWHERE);
  }
});

it("more networks than there is room for are refused with the way out", () => {
  const many = Array.from({ length: MAX_NETWORKS + 1 }, (_, n) => `10.0.${n}.0/24`);
  expect(() => compileSteering(plan("inet", many))).toThrow(/129 networks are too many .*merge neighbours/u);
});
