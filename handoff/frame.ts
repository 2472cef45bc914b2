/**
 * Bytes and frames (docs/wire.md). Pure. `parseFrame` accepts any bytes and either returns a frame or says what is
 * wrong with them; it never reads past the end.
 */

export interface Field {
  readonly key: number;
  readonly value: Uint8Array;
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly fields: readonly Field[];
}

const MAGIC = 0x31464f48; // "HOF1", little-endian
const FRAME_HEADER = 12;
const FIELD_HEADER = 8;

/** Another frame of the same sequence follows. The only flag there is. */
export const MORE = 1;

const encoder = new TextEncoder();
// A byte order mark is part of a name as any other character is (despite its name, ignoreBOM keeps it).
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function textField(key: number, text: string): Field {
  return { key, value: encoder.encode(text) };
}

export function u32Field(key: number, number: number): Field {
  const value = new Uint8Array(4);
  new DataView(value.buffer).setUint32(0, number >>> 0, true);
  return { key, value };
}

export function u64Field(key: number, numbers: readonly bigint[]): Field {
  const value = new Uint8Array(8 * numbers.length);
  const view = new DataView(value.buffer);
  numbers.forEach((number, index) => view.setBigUint64(8 * index, number, true));
  return { key, value };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The field's number, or null when it is not four bytes. */
export function asU32(field: Field | undefined): number | null {
  return field?.value.length === 4 ? viewOf(field.value).getUint32(0, true) : null;
}

export function asU64s(field: Field | undefined): bigint[] | null {
  if (field === undefined || field.value.length % 8 !== 0) return null;
  const view = viewOf(field.value);
  return Array.from({ length: field.value.length / 8 }, (_, index) => view.getBigUint64(8 * index, true));
}

/** The field's text, or null when it is not UTF-8. */
export function asText(field: Field | undefined): string | null {
  if (field === undefined) return null;
  try {
    return decoder.decode(field.value);
  } catch {
    return null; // Not UTF-8: the caller treats it as the violation it is.
  }
}

export function encodeFields(fields: readonly Field[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, field) => sum + FIELD_HEADER + field.value.length, 0));
  const view = viewOf(bytes);
  let offset = 0;
  for (const field of fields) {
    view.setUint16(offset, field.key, true);
    view.setUint32(offset + 4, field.value.length, true);
    bytes.set(field.value, offset + FIELD_HEADER);
    offset += FIELD_HEADER + field.value.length;
  }
  return bytes;
}

export function encodeFrame(frame: Frame): Uint8Array {
  const body = encodeFields(frame.fields);
  const bytes = new Uint8Array(FRAME_HEADER + body.length);
  const view = viewOf(bytes);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, frame.type, true);
  view.setUint16(6, frame.flags, true);
  view.setUint32(8, body.length, true);
  bytes.set(body, FRAME_HEADER);
  return bytes;
}

/** The fields of a body, or a sentence that says why it is none. */
export function parseFields(bytes: Uint8Array): readonly Field[] | string {
  const view = viewOf(bytes);
  const fields: Field[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    if (bytes.length - offset < FIELD_HEADER) return "a field's header is cut off";
    const length = view.getUint32(offset + 4, true);
    if (view.getUint16(offset + 2, true) !== 0) return "a field's reserved bytes are not 0";
    if (length > bytes.length - offset - FIELD_HEADER) return "a field is longer than its frame";
    const start = offset + FIELD_HEADER;
    fields.push({ key: view.getUint16(offset, true), value: bytes.slice(start, start + length) });
    offset = start + length;
  }
  return fields;
}

/** The frame in `bytes`, or a sentence that says why it is none. */
export function parseFrame(bytes: Uint8Array): Frame | string {
  if (bytes.length < FRAME_HEADER) return "a frame is shorter than its header";
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== MAGIC) return "a frame does not begin with HOF1";
  if ((view.getUint16(6, true) & ~MORE) !== 0) return "a frame has flags that nobody knows";
  if (view.getUint32(8, true) !== bytes.length - FRAME_HEADER) return "a frame's length is not its body's";
  const fields = parseFields(bytes.subarray(FRAME_HEADER));
  if (typeof fields === "string") return fields;
  return { type: view.getUint16(4, true), flags: view.getUint16(6, true), fields };
}
