import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeFrame, textField, u32Field, u64Field, type Field } from "../../handoff/frame.ts";
import { type Held, parseMessage, type Message } from "../../handoff/messages.ts";

const ACK = 2;
const FAIL = 3;
const OK = 4;
const JOIN = 5;
const HELLO = 6;
const WANT = 8;
const TOOK = 9;
const MOVED = 10;
const ITEMS = 19;
const MORE = 1;
const COUNT = 3;
const IDENTITIES = 4;
const STEP = 5;
const ERRNO = 6;
const TEXT = 7;
const NAME = 8;
const GENERATION = 9;
const INSTANCE = 10;
const KIND = 11;
const HELD = 13;
const FAILED = 14;

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const text = fc.string({ unit: "binary", maxLength: 60 });

const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ type: fc.constant("ack" as const), count: u32, identities: fc.array(u64) }),
  fc.record({ type: fc.constant("fail" as const), step: text, errno: u32, text }),
  fc.constant({ type: "ok" as const }),
  fc
    .record({ type: fc.constant("join" as const), generation: fc.option(u32), instance: fc.option(u32) })
    .filter(({ generation, instance }) => generation !== null || instance === null),
  fc.record({
    type: fc.constant("hello" as const),
    kinds: fc.array(
      text.filter((kind) => kind !== "" && new TextEncoder().encode(kind).length <= 64),
      { maxLength: 64 },
    ),
  }),
  fc.constant({ type: "want" as const }),
  fc.record({
    type: fc.constant("took" as const),
    held: fc.array(fc.record({ fd: fc.nat(), cookie: u64, listener: text }), { maxLength: 256 }),
  }),
  fc.record({ type: fc.constant("moved" as const), taken: u32, failed: u32 }),
  fc.record({ type: fc.constant("items" as const), names: fc.array(text), more: fc.boolean() }),
);

function heldField({ fd, cookie, listener }: Held): Field {
  const name = new TextEncoder().encode(listener);
  const value = new Uint8Array(12 + name.length);
  const view = new DataView(value.buffer);
  view.setUint32(0, fd, true);
  view.setBigUint64(4, cookie, true);
  value.set(name, 12);
  return { key: HELD, value };
}

/** As the C side writes it, and a program. */
function written(one: Message): Uint8Array {
  switch (one.type) {
    case "ack":
      return encode(ACK, [u32Field(COUNT, one.count), u64Field(IDENTITIES, one.identities)]);
    case "fail":
      return encode(FAIL, [textField(STEP, one.step), u32Field(ERRNO, one.errno), textField(TEXT, one.text)]);
    case "ok":
      return encode(OK, []);
    case "join": {
      const fields = [
        ...(one.generation === null ? [] : [u32Field(GENERATION, one.generation)]),
        ...(one.instance === null ? [] : [u32Field(INSTANCE, one.instance)]),
      ];
      return encode(JOIN, fields);
    }
    case "hello":
      return encode(
        HELLO,
        one.kinds.map((kind) => textField(KIND, kind)),
      );
    case "want":
      return encode(WANT, []);
    case "took":
      return encode(TOOK, one.held.map(heldField));
    case "moved":
      return encode(MOVED, [u32Field(COUNT, one.taken), u32Field(FAILED, one.failed)]);
    case "items":
      return encode(
        ITEMS,
        one.names.map((name) => textField(NAME, name)),
        one.more ? MORE : 0,
      );
  }
}

function encode(type: number, fields: readonly Field[], flags = 0): Uint8Array {
  return encodeFrame({ type, flags, fields });
}

it("a message is read as it was written", () => {
  fc.assert(
    fc.property(message, (one) => {
      expect(parseMessage(written(one))).toEqual(one);
    }),
    { numRuns: 1000 },
  );
});

it("fields that a later version may add do not matter", () => {
  expect(parseMessage(encode(OK, [textField(999, "new")]))).toEqual({ type: "ok" });
});

describe("a message is refused with the reason", () => {
  const notUtf8: Field = { key: NAME, value: Uint8Array.of(0xff) };
  it.each<[string, Uint8Array, string]>([
    ["an ACK without IDENTITIES", encode(ACK, [u32Field(COUNT, 1)]), "ACK without COUNT and IDENTITIES"],
    ["an ACK without COUNT", encode(ACK, [u64Field(IDENTITIES, [1n])]), "ACK without COUNT and IDENTITIES"],
    ["a FAIL without ERRNO", encode(FAIL, [textField(STEP, "exec")]), "FAIL without STEP and ERRNO"],
    ["a JOIN of an instance alone", encode(JOIN, [u32Field(INSTANCE, 1)]), "INSTANCE of no GENERATION"],
    ["a JOIN of nonsense", encode(JOIN, [textField(GENERATION, "newest")]), "is no number"],
    ["a NAME that is not UTF-8", encode(ITEMS, [notUtf8]), "not UTF-8"],
    ["a HELLO of a kind that is not UTF-8", encode(HELLO, [{ ...notUtf8, key: KIND }]), "KIND is no text"],
    ["a HELLO of a kind without a name", encode(HELLO, [textField(KIND, "")]), "none of 1 to 64 bytes"],
    ["a HELLO of a long kind", encode(HELLO, [textField(KIND, "k".repeat(65))]), "none of 1 to 64 bytes"],
    ["a HELLO of many kinds", encode(HELLO, Array(65).fill(textField(KIND, "http"))), "more than 64 kinds"],
    [
      "a TOOK of many",
      encode(TOOK, Array(257).fill({ key: HELD, value: new Uint8Array(12) })),
      "more than 256",
    ],
    ["a TOOK of nothing", encode(TOOK, [{ key: HELD, value: new Uint8Array(11) }]), "HELD is none"],
    [
      "a TOOK of no descriptor",
      encode(TOOK, [{ key: HELD, value: new Uint8Array(12).fill(255) }]),
      "HELD is none",
    ],
    ["a MOVED without FAILED", encode(MOVED, [u32Field(COUNT, 1)]), "MOVED without COUNT and FAILED"],
    ["a ROUTE to us", encode(7, []), "unknown type 7"],
    ["a request to us", encode(18, []), "unknown type 18"],
    ["a type that nobody knows", encode(99, []), "unknown type 99"],
    ["no frame", Uint8Array.of(1, 2, 3), "shorter than its header"],
  ])("%s", (_, bytes, reason) => {
    expect(parseMessage(bytes)).toContain(reason);
  });
});

it("bytes changed anywhere in a message raise no exception", () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(message, changes, (one, all) => {
      const bytes = written(one);
      for (const [at, value] of all) bytes[at % bytes.length] = value;
      expect(typeof parseMessage(bytes)).toMatch(/^(string|object)$/);
    }),
    { numRuns: 2000 },
  );
});

it("arbitrary bytes raise no exception", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => typeof parseMessage(bytes) === "string"),
    { numRuns: 2000 },
  );
});
