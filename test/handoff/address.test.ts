import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress, type ListenerAddress } from "../../handoff/address.ts";
import { hasCode } from "../../handoff/coded-error.ts";

function refusal(text: string): { code: string; message: string } {
  try {
    parseAddress(text);
  } catch (error) {
    if (hasCode(error, "ADDRESS_INVALID", "ADDRESS_UNSUPPORTED")) return error;
    throw error;
  }
  throw new Error(`${text} was accepted`);
}

const inet = (host: string, port: number): ListenerAddress => ({ kind: "tcp", family: "inet", host, port });
const inet6 = (host: string, port: number): ListenerAddress => ({ kind: "tcp", family: "inet6", host, port });

describe("an address means", () => {
  test.each<[string, ListenerAddress]>([
    ["tcp:0.0.0.0:8080", inet("0.0.0.0", 8080)],
    ["127.0.0.1:8080", inet("127.0.0.1", 8080)],
    ["8080", inet("0.0.0.0", 8080)],
    ["tcp:8080", inet("0.0.0.0", 8080)],
    ["tcp:127.0.0.1:0", inet("127.0.0.1", 0)],
    ["tcp:[::]:80", inet6("::", 80)],
    ["[::1]:80", inet6("::1", 80)],
    ["tcp:[2001:DB8:0:0::0007]:80", inet6("2001:db8::7", 80)],
    ["unix:/run/app.sock", { kind: "unix", path: "/run/app.sock" }],
    [`unix:/${"x".repeat(99)}`, { kind: "unix", path: `/${"x".repeat(99)}` }],
    ["unix:@app", { kind: "abstract", name: "app" }],
    [`unix:@${"x".repeat(107)}`, { kind: "abstract", name: "x".repeat(107) }],
    ["systemd:web", { kind: "inherited", name: "web" }],
  ])("%s", (text, address) => expect(parseAddress(text)).toEqual(address));
});

describe("an address is refused with the reason and the way out", () => {
  test.each<[string, ...string[]]>([
    ["", "it is empty", "tcp:0.0.0.0:8080"],
    [" 8080", "white space"],
    ["localhost:8080", "is a name", "an address is needed, not a name", '"127.0.0.1:8080"'],
    ["tcp:example.org:80", '"example.org" is a name', '"0.0.0.0:80"'],
    ["*:80", '"*" is a name', '"0.0.0.0:80"'],
    [":80", "the address before the port is missing"],
    ["127.0.0.1", "the port is missing"],
    ["127.0.0.1:http", 'the port "http" is not a number'],
    ["127.0.0.1:65536", "ports end at 65535"],
    ["127.0.0.300:80", "is not an IPv4 address", "0 to 255"],
    ["010.0.0.1:80", "without leading zeros"],
    ["::1:80", "in brackets"],
    ["[::1]", "the port is missing"],
    ["[::1]80", "in brackets"],
    ["[::g]:80", "is not an IPv6 address"],
    ["[fe80::1%eth0]:80", "an IPv6 zone", "without a zone"],
    ["[::ffff:127.0.0.1]:80", "an IPv4 address in IPv6 clothes"],
    ["unix:app.sock", "must be absolute"],
    ["unix:/run/", "ends in a slash"],
    ["unix:@", "the abstract name is empty"],
    [`unix:/${"x".repeat(107)}`, "108 bytes", "sun_path", "shorten it to 100"],
    [`unix:@${"x".repeat(108)}`, "its name has 108 bytes"],
    [`unix:/${"é".repeat(54)}`, "109 bytes"],
    ["unix:/a\0b", "NUL byte"],
    ["systemd:a:b", "FileDescriptorName"],
    ["http://0.0.0.0:80", 'the protocol "http" is unknown'],
  ])("%j", (text, ...phrases) => {
    const { code, message } = refusal(text);
    expect(code).toBe("ADDRESS_INVALID");
    for (const phrase of phrases) expect(message).toContain(phrase);
  });

  test.each([
    ["udp:0.0.0.0:53", 'use "tcp:"'],
    ["unixgram:/run/log", 'use "unix:"'],
  ])("%s, as not supported", (text, wayOut) => {
    const { code, message } = refusal(text);
    expect(code).toBe("ADDRESS_UNSUPPORTED");
    expect(message).toContain(wayOut);
  });
});

test("what is written is read as the same address", () => {
  const port = fc.integer({ min: 0, max: 65535 });
  const name = fc.stringMatching(/^[a-zA-Z0-9_.-]{1,50}$/u);
  const tcp = fc.oneof(
    fc.tuple(fc.ipV4(), port).map(([host, at]) => `tcp:${host}:${at}`),
    fc.tuple(fc.ipV6(), port).map(([host, at]) => `tcp:[${host}]:${at}`),
  );
  const others = fc
    .tuple(fc.constantFrom("unix:/run/", "unix:@", "systemd:"), name)
    .map(([prefix, rest]) => prefix + rest);
  fc.assert(
    fc.property(fc.oneof(tcp, others), (text) => {
      fc.pre(!/\[.*\..*\]/u.test(text) && !text.includes("[::ffff:"));
      const address = parseAddress(text);
      expect(parseAddress(formatAddress(address))).toEqual(address);
    }),
  );
});
