/**
 * What the two ends of a pair say to each other (docs/wire.md, "Moving connections"). Pure.
 *
 *   old instance                                    instance of the successor
 *     MOVE 7  http/web, http/web, net/echo + 3 fds ──▶
 *                                       ◀── TAKEN 7, refused: 2     sent before the first byte is read
 *     MOVE 8  ws/web, first part (MORE)            ──▶
 *                                       ◀── TAKEN 8 (MORE)          the part has arrived
 *     MOVE 8  the rest + 1 fd                      ──▶
 *                                       ◀── TAKEN 8
 *     LATE 8  item 0: what was written meanwhile   ──▶              written to the client by the taker, when it is whole (MORE)
 *                                       ◀── TAKEN 8 (MORE)
 *
 * Each frame has one answer, in order: so that the sender knows how much is under way.
 */
import { asText, asU32, encodeFrame, type Field, type Frame, MORE, textField, u32Field } from "../frame.ts";

const TYPE = { move: 11, taken: 12, late: 13 } as const;
const KEY = { kind: 11, sequence: 15, state: 16, unread: 17, refused: 18, item: 19, bytes: 20 } as const;

/** The most connections in one frame. */
export const ITEMS_PER_FRAME = 64;
/** The most bytes of state and unread bytes in one frame: a SEQPACKET message must fit into SO_SNDBUF, 208 KiB by default. */
export const BYTES_PER_FRAME = 48 * 1024;
/** Of one connection, state and unread bytes together. One that has more stays where it is. */
export const LONGEST_ITEM = 16 * 1024 * 1024;

/** A connection's kind and what comes with it; a null kind goes on with the last one of the frame before. */
export interface Part {
  readonly kind: string | null;
  readonly state: Uint8Array;
  readonly unread: Uint8Array;
}

export type PairMessage =
  | {
      readonly type: "move";
      readonly sequence: number;
      readonly more: boolean;
      readonly parts: readonly Part[];
    }
  | {
      readonly type: "taken";
      readonly sequence: number;
      readonly more: boolean;
      readonly refused: readonly number[];
    }
  | {
      readonly type: "late";
      readonly sequence: number;
      readonly more: boolean;
      readonly item: number;
      readonly bytes: Uint8Array;
    };

const NOTHING = new Uint8Array(0);

export function moveFrame(sequence: number, parts: readonly Part[], more: boolean): Uint8Array {
  const fields: Field[] = [u32Field(KEY.sequence, sequence)];
  for (const { kind, state, unread } of parts) {
    if (kind !== null) fields.push(textField(KEY.kind, kind));
    if (state.length > 0) fields.push({ key: KEY.state, value: state });
    if (unread.length > 0) fields.push({ key: KEY.unread, value: unread });
  }
  return encodeFrame({ type: TYPE.move, flags: more ? MORE : 0, fields });
}

/** `more`: of what is not the end of a sequence. */
export function takenFrame(sequence: number, refused: readonly number[], more: boolean): Uint8Array {
  const fields = [u32Field(KEY.sequence, sequence), ...refused.map((index) => u32Field(KEY.refused, index))];
  return encodeFrame({ type: TYPE.taken, flags: more ? MORE : 0, fields });
}

/** `more`: the next frame goes on with it. */
export function lateFrame(sequence: number, item: number, bytes: Uint8Array, more: boolean): Uint8Array {
  const fields = [
    u32Field(KEY.sequence, sequence),
    u32Field(KEY.item, item),
    { key: KEY.bytes, value: bytes },
  ];
  return encodeFrame({ type: TYPE.late, flags: more ? MORE : 0, fields });
}

/** The message in a frame, or a sentence that says why it is none. */
export function readPairFrame({ type, flags, fields }: Frame): PairMessage | string {
  const [first, ...rest] = fields;
  const sequence = first?.key === KEY.sequence ? asU32(first) : null;
  if (sequence === null) return "a frame between instances without SEQUENCE";
  const more = (flags & MORE) !== 0;
  switch (type) {
    case TYPE.move: {
      const parts = readParts(rest);
      return typeof parts === "string" ? parts : { type: "move", sequence, more, parts };
    }
    case TYPE.taken: {
      const refused = rest.flatMap((field) => (field.key === KEY.refused ? (asU32(field) ?? []) : []));
      if (refused.length < rest.length) return "a TAKEN with something else than REFUSED";
      return { type: "taken", sequence, more, refused };
    }
    case TYPE.late: {
      const item = rest[0]?.key === KEY.item ? asU32(rest[0]) : null;
      if (item === null || rest[1]?.key !== KEY.bytes || rest.length > 2)
        return "a LATE without ITEM and BYTES";
      return { type: "late", sequence, more, item, bytes: rest[1].value };
    }
    default:
      return `a frame of the unknown type ${type} between instances`;
  }
}

function readParts(fields: readonly Field[]): Part[] | string {
  const parts: { kind: string | null; state: Uint8Array; unread: Uint8Array }[] = [];
  for (const field of fields) {
    if (field.key === KEY.kind) {
      const kind = asText(field);
      if (kind === null || kind === "") return "a MOVE whose KIND is no text";
      if (parts.length === ITEMS_PER_FRAME) return `a MOVE of more than ${ITEMS_PER_FRAME} connections`;
      parts.push({ kind, state: NOTHING, unread: NOTHING });
      continue;
    }
    const name = field.key === KEY.state ? "state" : field.key === KEY.unread ? "unread" : null;
    if (name === null) return `a MOVE with a field of the unknown key ${field.key}`;
    if (parts.length === 0) parts.push({ kind: null, state: NOTHING, unread: NOTHING });
    const last = parts.at(-1);
    if (last === undefined || last[name].length > 0)
      return "a MOVE that says something of a connection twice";
    last[name] = field.value;
  }
  return parts;
}

/** The bytes of one connection, cut so that each piece fits into a frame. The last one is the caller's to send with the descriptor. */
export function cut({ kind, state, unread }: Part): Part[] {
  const parts: Part[] = [];
  let [stateAt, unreadAt] = [0, 0];
  do {
    const ofState = state.subarray(stateAt, stateAt + BYTES_PER_FRAME);
    const ofUnread = unread.subarray(unreadAt, unreadAt + BYTES_PER_FRAME - ofState.length);
    parts.push({ kind: parts.length === 0 ? kind : null, state: ofState, unread: ofUnread });
    stateAt += ofState.length;
    unreadAt += ofUnread.length;
  } while (stateAt < state.length || unreadAt < unread.length);
  return parts;
}
