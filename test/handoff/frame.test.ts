import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  asText,
  asU32,
  asU64s,
  encodeFields,
  encodeFrame,
  parseFields,
  parseFrame,
  textField,
  u32Field,
  u64Field,
  type Field,
  type Frame,
} from "../../handoff/frame.ts";

const RUNS = 2000;
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const text = fc.string({ unit: "binary", maxLength: 40 });
const field: fc.Arbitrary<Field> = fc.record({ key: u16, value: fc.uint8Array({ maxLength: 60 }) });
const frame: fc.Arbitrary<Frame> = fc.record({
  type: u16,
  flags: fc.constantFrom(0, 1),
  fields: fc.array(field, { maxLength: 8 }),
});

/** The same bytes in the middle of a larger buffer whose rest, were it read, would look like more of the frame. */
function embedded(bytes: Uint8Array): Uint8Array {
  const around = new Uint8Array(bytes.length + 64);
  around.fill(1);
  around.set(bytes, 32);
  return around.subarray(32, 32 + bytes.length);
}

describe("what is written is read", () => {
  it("as the same frame, wherever in a buffer it stands", () => {
    fc.assert(
      fc.property(frame, (one) => {
        expect(parseFrame(embedded(encodeFrame(one)))).toEqual(one);
      }),
      { numRuns: RUNS },
    );
  });

  it("as the same fields", () => {
    fc.assert(
      fc.property(fc.array(field), (fields) => {
        expect(parseFields(embedded(encodeFields(fields)))).toEqual(fields);
      }),
    );
  });

  it("as the same text, a byte order mark included", () => {
    fc.assert(
      fc.property(text, (one) => asText(textField(1, one)) === one),
      { numRuns: RUNS },
    );
    expect(asText(textField(1, "\uFEFFweb"))).toBe("\uFEFFweb");
  });

  it("as the same numbers", () => {
    fc.assert(fc.property(u32, (one) => asU32(u32Field(1, one)) === one));
    fc.assert(
      fc.property(fc.array(u64), (some) => {
        expect(asU64s(u64Field(1, some))).toEqual(some);
      }),
    );
  });

  it("as a copy, which later bytes in the same buffer do not change", () => {
    const bytes = encodeFrame({ type: 1, flags: 0, fields: [textField(8, "web")] });
    const parsed = parseFrame(bytes) as Frame;
    bytes.fill(0);
    expect(asText(parsed.fields[0])).toBe("web");
  });
});

describe("a field of the wrong shape", () => {
  it("is no number", () => {
    for (const length of [0, 3, 5, 8]) expect(asU32({ key: 1, value: new Uint8Array(length) })).toBeNull();
    for (const length of [1, 7, 9]) expect(asU64s({ key: 1, value: new Uint8Array(length) })).toBeNull();
    expect([asU32(undefined), asU64s(undefined), asText(undefined)]).toEqual([null, null, null]);
  });

  it("is no text when it is not UTF-8", () => {
    expect(asText({ key: 1, value: Uint8Array.of(0x77, 0xff) })).toBeNull();
    expect(asText({ key: 1, value: Uint8Array.of(0xed, 0xa0, 0x80) })).toBeNull(); // A surrogate.
  });
});

describe("bytes that are no frame", () => {
  const whole = encodeFrame({ type: 3, flags: 0, fields: [textField(5, "exec"), u32Field(6, 2)] });
  const changed = (at: number, value: number): Uint8Array => {
    const bytes = whole.slice();
    bytes[at] = value;
    return bytes;
  };

  it.each<[string, Uint8Array, string]>([
    ["nothing", new Uint8Array(0), "shorter than its header"],
    ["half a header", whole.subarray(0, 11), "shorter than its header"],
    ["another magic", changed(3, 0x32), "does not begin with HOF1"],
    ["a flag that nobody knows", changed(6, 2), "flags"],
    ["a length beyond the end", changed(8, whole.length), "length is not its body's"],
    ["a length of 4 GB", changed(11, 0xff), "length is not its body's"],
    ["a byte too many", Uint8Array.of(...whole, 0), "length is not its body's"],
    ["a reserved byte that is set", changed(14, 1), "reserved bytes are not 0"],
    ["a field beyond the end", changed(16, 0xff), "longer than its frame"],
    ["a last field that is a byte short", changed(28, 5), "longer than its frame"],
    ["a field of 4 GB", changed(19, 0xff), "longer than its frame"],
  ])("%s: they are refused with the reason", (_, bytes, reason) => {
    expect(parseFrame(embedded(bytes))).toContain(reason);
  });

  it("a field header that is cut off is refused with the reason", () => {
    expect(parseFields(encodeFields([textField(8, "web")]).subarray(0, 7))).toContain("cut off");
  });

  it("whatever they are, they are refused without an exception", () => {
    const magic = Uint8Array.of(0x48, 0x4f, 0x46, 0x31);
    const bytes = fc.uint8Array({ maxLength: 200 });
    const begun = bytes.map((rest) => Uint8Array.of(...magic, ...rest));
    fc.assert(
      fc.property(fc.oneof(bytes, begun), (some) => {
        expect(typeof parseFrame(embedded(some))).toMatch(/^(string|object)$/);
      }),
      { numRuns: RUNS },
    );
  });

  it("a valid frame with bytes changed, cut or added is refused, or is another frame that writes the same bytes", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 });
    fc.assert(
      fc.property(frame, damage, fc.integer({ min: -20, max: 20 }), (one, changes, by) => {
        const intact = encodeFrame(one);
        const bytes = new Uint8Array(Math.max(0, intact.length + by));
        bytes.set(intact.subarray(0, bytes.length));
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        const parsed = parseFrame(embedded(bytes));
        // One way to write each frame: what was read accounts for every byte, and for none beyond the end.
        if (typeof parsed !== "string") expect(encodeFrame(parsed)).toEqual(bytes);
      }),
      { numRuns: RUNS },
    );
  });
});
