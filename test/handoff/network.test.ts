/** Networks as people write them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CodedError } from "../../handoff/coded-error.ts";
import {
  formatNetwork,
  maskOf,
  MAX_NETWORKS,
  type Network,
  parseNetwork,
  parseNetworks,
} from "../../handoff/network.ts";

function refusalOf(act: () => unknown): CodedError {
  try {
    act();
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

it.each<[string, Network]>([
  ["10.1.0.0/16", { family: "inet", words: [0x0a01_0000], prefix: 16 }],
  ["10.1.2.3", { family: "inet", words: [0x0a01_0203], prefix: 32 }],
  ["255.255.255.255/32", { family: "inet", words: [0xffff_ffff], prefix: 32 }],
  ["0.0.0.0/0", { family: "inet", words: [0], prefix: 0 }],
  ["192.0.2.128/25", { family: "inet", words: [0xc000_0280], prefix: 25 }],
  ["2001:db8::/32", { family: "inet6", words: [0x2001_0db8, 0, 0, 0], prefix: 32 }],
  ["2001:DB8:0:1::/64", { family: "inet6", words: [0x2001_0db8, 1, 0, 0], prefix: 64 }],
  ["::1", { family: "inet6", words: [0, 0, 0, 1], prefix: 128 }],
  ["::/0", { family: "inet6", words: [0, 0, 0, 0], prefix: 0 }],
  ["1:2:3:4:5:6:7:8", { family: "inet6", words: [0x1_0002, 0x3_0004, 0x5_0006, 0x7_0008], prefix: 128 }],
  ["64:ff9b::192.0.2.0/120", { family: "inet6", words: [0x64_ff9b, 0, 0, 0xc000_0200], prefix: 120 }],
  ["fe80::/10", { family: "inet6", words: [0xfe80_0000, 0, 0, 0], prefix: 10 }],
])("%s is read", (text, network) => {
  expect(parseNetwork(text)).toEqual(network);
});

describe("what is no network is refused with the way out", () => {
  it.each([
    ["", 'write one such as "10.1.0.0/16"'],
    ["everywhere", 'write one such as "10.1.0.0/16"'],
    ["10.1.0/16", 'write one such as "10.1.0.0/16"'],
    ["10.1.0.0/16/8", 'write one such as "10.1.0.0/16"'],
    ["010.1.0.0/16", 'write one such as "10.1.0.0/16"'],
    [" 10.1.0.0/16", 'write one such as "10.1.0.0/16"'],
    ["[2001:db8::]/32", 'write one such as "10.1.0.0/16"'],
    ["10.1.0.0/33", '0 to 32; write one such as "10.1.0.0/24"'],
    ["10.1.0.0/", '0 to 32; write one such as "10.1.0.0/24"'],
    ["10.1.0.0/-1", "0 to 32"],
    ["10.1.0.0/016", "0 to 32"],
    ["10.1.0.0/255.255.0.0", "0 to 32"],
    ["2001:db8::/129", '0 to 128; write one such as "2001:db8::/64"'],
    ["10.1.2.3/16", 'write "10.1.0.0/16" for the network, or "10.1.2.3" for the one address'],
    ["10.1.2.3/0", 'write "0.0.0.0/0" for the network'],
    ["2001:db8::1/64", 'write "2001:db8::/64" for the network, or "2001:db8::1" for the one address'],
    ["fe80::1%eth0", "write the address without it"],
    ["::ffff:10.1.0.0/112", 'write "10.1.0.0/16"'],
    ["::ffff:10.1.2.3", 'write "10.1.2.3"'],
    ["::ffff:0:0/96", 'write "0.0.0.0/0"'],
  ])("%j: %s", (text, wayOut) => {
    const { code, message } = refusalOf(() => parseNetwork(text));
    expect(code).toBe("VALUE_INVALID");
    expect(message).toContain(wayOut);
    expect(message).toMatch(/is not a network; .+/u);
  });

  it("one program has room for so many and no more", () => {
    const many = Array.from({ length: MAX_NETWORKS }, (_, n) => `10.0.${n}.0/24`);
    expect(parseNetworks(many)).toHaveLength(MAX_NETWORKS);
    const { code, message } = refusalOf(() => parseNetworks([...many, "10.1.0.0/24"]));
    expect(code).toBe("VALUE_INVALID");
    expect(message).toContain(`room for ${MAX_NETWORKS}`);
  });
});

it("what is written is read as the same again", () => {
  const word = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff_ffff }));
  const network = fc.constantFrom(1, 4).chain((length) =>
    fc
      .tuple(
        fc.array(word, { minLength: length, maxLength: length }),
        fc.integer({ min: 0, max: 32 * length }),
      )
      .map(([words, prefix]): Network => ({
        family: length === 1 ? "inet" : "inet6",
        words: words.map((each, at) => (each & maskOf(prefix, at)) >>> 0),
        prefix,
      }))
      .filter(({ family, words: [a, b, c], prefix }) => {
        const isMapped = prefix >= 96 && a === 0 && b === 0 && c === 0xffff;
        return family === "inet" || !isMapped;
      }),
  );
  fc.assert(
    fc.property(network, (one) => {
      expect(parseNetwork(formatNetwork(one))).toEqual(one);
    }),
    { numRuns: 2000 },
  );
  expect(formatNetwork(parseNetwork("10.1.2.3/32"))).toBe("10.1.2.3");
  expect(formatNetwork(parseNetwork("2001:db8:0:0:0:0:0:0/32"))).toBe("2001:db8::/32");
});
