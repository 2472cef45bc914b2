/** Every message between the daemon, its launcher, its keeper and the programs it runs, parsed from frames (docs/wire.md). */
import {
  asText,
  asU32,
  asU64s,
  encodeFrame,
  type Field,
  type Frame,
  MORE,
  parseFrame,
  textField,
  u32Field,
} from "./frame.ts";

const TYPE = {
  grant: 1,
  ack: 2,
  fail: 3,
  ok: 4,
  join: 5,
  hello: 6,
  route: 7,
  want: 8,
  took: 9,
  moved: 10,
  put: 16,
  remove: 17,
  list: 18,
  items: 19,
  release: 20,
} as const;

const KEY = {
  total: 1,
  entry: 2,
  count: 3,
  identities: 4,
  step: 5,
  errno: 6,
  text: 7,
  name: 8,
  generation: 9,
  instance: 10,
  kind: 11,
  direction: 12,
  held: 13,
  failed: 14,
} as const;

/** The most descriptors in one of our frames; the kernel takes SCM_MAX_FD (253). */
export const DESCRIPTORS_PER_FRAME = 250;

/** Of a HELLO: so many kinds, each of so many bytes. */
const MOST_KINDS = 64;
const LONGEST_KIND = 64;
/** Of a TOOK. */
const MOST_HELD = 256;

export const ENTRY_SPECIFICATION = 0;
export const ENTRY_SOCKET = 1;
export const ENTRY_OTHER = 2;

/** One descriptor of a grant: what it is called and how its identity is read. */
export interface Entry {
  readonly kind: number;
  readonly identity: bigint;
  readonly name: string;
}

export interface Fail {
  readonly type: "fail";
  readonly step: string;
  readonly errno: number;
  readonly text: string;
}

/** A launcher that someone else has started asks for a place; null: whichever is awaited. */
export interface Join {
  readonly type: "join";
  readonly generation: number | null;
  readonly instance: number | null;
}

/** A connection that a program serves now, by its own number for it and by SO_COOKIE. */
export interface Held {
  readonly fd: number;
  readonly cookie: bigint;
  /** Where it was accepted, perhaps by another process. */
  readonly listener: string;
}

/** What a running program says on its channel, unasked. */
export type Said =
  /** What it can take; said again it replaces. */
  | { readonly type: "hello"; readonly kinds: readonly string[] }
  /** It drains, has connections left, and no way to give them to anybody. */
  | { readonly type: "want" }
  | { readonly type: "took"; readonly held: readonly Held[] }
  /** Since the last one: how many of its connections somebody took, and how many nobody did. */
  | { readonly type: "moved"; readonly taken: number; readonly failed: number };

export type Message =
  | { readonly type: "ack"; readonly count: number; readonly identities: readonly bigint[] }
  | Fail
  | Join
  | Said
  | { readonly type: "ok" }
  | { readonly type: "items"; readonly names: readonly string[]; readonly more: boolean };

export function grantFrame(entries: readonly Entry[], total: number, more: boolean): Uint8Array {
  return frame(
    TYPE.grant,
    [u32Field(KEY.total, total), ...entries.map((entry) => entryField(entry))],
    more ? MORE : 0,
  );
}

function entryField(entry: Entry): Field {
  const name = new TextEncoder().encode(entry.name);
  const value = new Uint8Array(9 + name.length);
  value[0] = entry.kind;
  new DataView(value.buffer).setBigUint64(1, entry.identity, true);
  value.set(name, 9);
  return { key: KEY.entry, value };
}

/** What is well-formed and cannot be done. `errno` is one of errno(3)'s numbers. */
export function failFrame(step: string, errno: number, text: string): Uint8Array {
  return frame(TYPE.fail, [textField(KEY.step, step), u32Field(KEY.errno, errno), textField(KEY.text, text)]);
}

/** Comes with one end of a pair. `generation` and `instance` are those of the process that has the other one. */
export function routeFrame(
  direction: "send" | "take",
  generation: number,
  instance: number,
  kinds: readonly string[],
): Uint8Array {
  return frame(TYPE.route, [
    u32Field(KEY.direction, direction === "send" ? 0 : 1),
    u32Field(KEY.generation, generation),
    u32Field(KEY.instance, instance),
    ...kinds.map((kind) => textField(KEY.kind, kind)),
  ]);
}

export function putFrame(names: readonly string[]): Uint8Array {
  return frame(TYPE.put, names.map(nameField));
}

export function removeFrame(names: readonly string[]): Uint8Array {
  return frame(TYPE.remove, names.map(nameField));
}

export function listFrame(): Uint8Array {
  return frame(TYPE.list, []);
}

export function releaseFrame(): Uint8Array {
  return frame(TYPE.release, []);
}

function nameField(name: string): Field {
  return textField(KEY.name, name);
}

function frame(type: number, fields: readonly Field[], flags = 0): Uint8Array {
  return encodeFrame({ type, flags, fields });
}

/** The message in `bytes`, or a sentence that says what is wrong with them. */
export function parseMessage(bytes: Uint8Array): Message | string {
  const parsed = parseFrame(bytes);
  return typeof parsed === "string" ? parsed : interpret(parsed);
}

function interpret(parsed: Frame): Message | string {
  const find = (key: number): Field | undefined => parsed.fields.find((field) => field.key === key);
  switch (parsed.type) {
    case TYPE.ack: {
      const count = asU32(find(KEY.count));
      const identities = asU64s(find(KEY.identities));
      if (count === null || identities === null) return "an ACK without COUNT and IDENTITIES";
      return { type: "ack", count, identities };
    }
    case TYPE.fail: {
      const step = asText(find(KEY.step));
      const errno = asU32(find(KEY.errno));
      if (step === null || errno === null) return "a FAIL without STEP and ERRNO";
      return { type: "fail", step, errno, text: asText(find(KEY.text)) ?? "" };
    }
    case TYPE.join: {
      const generation = asU32(find(KEY.generation));
      const instance = asU32(find(KEY.instance));
      // What is broken must not pass for what is absent: it would get any place.
      const isBroken = [KEY.generation, KEY.instance].some((key) => {
        const field = find(key);
        return field !== undefined && asU32(field) === null;
      });
      if (isBroken) return "a JOIN whose GENERATION or INSTANCE is no number";
      if (generation === null && instance !== null) return "a JOIN with an INSTANCE of no GENERATION";
      return { type: "join", generation, instance };
    }
    case TYPE.ok:
      return { type: "ok" };
    case TYPE.hello:
      return interpretHello(parsed);
    case TYPE.want:
      return { type: "want" };
    case TYPE.took:
      return interpretTook(parsed);
    case TYPE.moved: {
      const taken = asU32(find(KEY.count));
      const failed = asU32(find(KEY.failed));
      if (taken === null || failed === null) return "a MOVED without COUNT and FAILED";
      return { type: "moved", taken, failed };
    }
    case TYPE.items: {
      const names = parsed.fields.filter((field) => field.key === KEY.name).map((field) => asText(field));
      if (names.includes(null)) return "a NAME that is not UTF-8";
      return { type: "items", names: names as string[], more: (parsed.flags & MORE) !== 0 };
    }
    default:
      return `a frame of the unknown type ${parsed.type}`;
  }
}

function interpretHello({ fields }: Frame): Message | string {
  const found = fields.filter(({ key }) => key === KEY.kind);
  if (found.length > MOST_KINDS) return `a HELLO of more than ${MOST_KINDS} kinds`;
  const kinds = found.flatMap((field) => asText(field) ?? []);
  const isFit = found.every(({ value: { length } }) => length > 0 && length <= LONGEST_KIND);
  if (!isFit || kinds.length < found.length) return "a HELLO whose KIND is no text, or none of 1 to 64 bytes";
  return { type: "hello", kinds };
}

function interpretTook({ fields }: Frame): Message | string {
  const found = fields.filter(({ key }) => key === KEY.held);
  if (found.length > MOST_HELD) return `a TOOK of more than ${MOST_HELD} connections`;
  const held = found.flatMap(({ value }) => {
    const listener = value.length < 12 ? null : asText({ key: KEY.held, value: value.subarray(12) });
    if (listener === null) return [];
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
    const fd = view.getInt32(0, true);
    return fd < 0 ? [] : [{ fd, cookie: view.getBigUint64(4, true), listener }];
  });
  return held.length < found.length ? "a TOOK whose HELD is none" : { type: "took", held };
}
