import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeFrame, textField, u32Field, u64Field, type Field } from "../../handoff/frame.ts";
import { parseMessage, type Message } from "../../handoff/messages.ts";

const ACK = 2;
const FAIL = 3;
const OK = 4;
const JOIN = 5;
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
  fc.record({ type: fc.constant("items" as const), names: fc.array(text), more: fc.boolean() }),
);

/** As the C side writes it. */
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
