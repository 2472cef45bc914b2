/**
 * Weights, gate, pin and guests as a classic BPF program for SO_ATTACH_REUSEPORT_CBPF. A pure compiler.
 *
 * The program runs once per new TCP connection, at its SYN; what it returns is the index of the group's member, in the order of
 * listen(2) (net/core/sock_reuseport.c). An index that does not exist makes the kernel fall back to its hash over all
 * members, gated ones included: so nothing here ever returns one.
 *
 *   pin      source 127.77.0.N (or ::1 with a reserved source port)  → slot N-1, whatever else holds
 *   guests   source in one of these networks                          → their slot, whatever the weights
 *   weights  a number below 10,000 against cumulative bounds          → a slot
 *   gate     a slot that no weight and no guest names is never returned but by a pin
 *
 * The number is random for each connection, or a hash of the client's address: then the first share has the range from 0
 * on, and while it grows a client moves into it and never out of it.
 */
import {
  AND,
  encode,
  INET6_SOURCE,
  INET_SOURCE,
  type Instruction,
  JEQ,
  JGE,
  LD_B_ABS,
  LD_H_ABS,
  LD_MEM,
  LD_W_ABS,
  MOD,
  op,
  RET_A,
  RET_K,
  RSH,
  section,
  SKF_AD_RANDOM,
  SKF_NET,
  skip,
  ST,
  SUB,
  TAX,
  TXA,
} from "./classic-bpf.ts";
import { hashInet, hashInet6 } from "./client-hash.ts";
import { assertFew, maskOf, type Network } from "./network.ts";

/** A slot's share of new connections, 0..1. */
export interface Share {
  readonly slot: number;
  readonly share: number;
}

/** Connections from these networks reach this slot. */
export interface Guests {
  readonly slot: number;
  readonly networks: readonly Network[];
}

export interface SteerOptions {
  /**
   * null: each connection draws anew. A number: a client stays where a hash of its address and this salt (a whole number, not
   * negative) puts it. With the same salt, no client leaves the first share while that grows.
   */
  readonly sticky?: number | null;
  readonly guests?: Guests | null;
}

/** What the kernel's program does. */
export interface Steering extends Required<SteerOptions> {
  /** In the order of their ranges of the hash. */
  readonly shares: readonly Share[];
}

export interface SteeringPlan extends SteerOptions {
  readonly family: "inet" | "inet6";
  /** Slots that exist: indices 0..slots-1. */
  readonly slots: number;
  /** Shares sum to 1. */
  readonly shares: readonly Share[];
  /** Whether connections from the pin addresses reach their slot. */
  readonly pins: boolean;
}

/** Weights are exact to this part of one. */
export const WEIGHT_UNITS = 10_000;

/** Reserved source ports of the IPv6 pin: above Linux' default ephemeral range, which ends at 60999. */
export const PIN_PORT_BASE = 61_440;
export const PIN_PORTS_PER_SLOT = 16;
/** More slots than this cannot be pinned over IPv6, and none is opened. */
export const MAX_SLOTS = 256;

const PIN_NETWORK = 0x7f4d_0000; // 127.77.0.0/16

/** The IPv4 source address whose connections always reach this slot. */
export function pinSource(slot: number): string {
  const number = slot + 1;
  return `127.77.${number >> 8}.${number & 255}`;
}

/** The source ports that, with source ::1, always reach this slot of an IPv6-only listener. */
export function pinPorts(slot: number): readonly number[] {
  return Array.from({ length: PIN_PORTS_PER_SLOT }, (_, n) => PIN_PORT_BASE + slot * PIN_PORTS_PER_SLOT + n);
}

function pinInet(slots: number): Instruction[] {
  return section(
    op(LD_W_ABS, INET_SOURCE),
    op(AND, 0xffff_0000),
    op(JEQ, PIN_NETWORK, 0, "end"),
    op(LD_W_ABS, INET_SOURCE),
    op(AND, 0xffff),
    op(SUB, 1), // 127.77.0.0 becomes huge and is no slot
    op(JGE, slots, "end", 0),
    op(RET_A),
  );
}

function pinInet6(slots: number): Instruction[] {
  return section(
    op(LD_W_ABS, INET6_SOURCE),
    op(JEQ, 0, 0, "end"),
    op(LD_W_ABS, INET6_SOURCE + 4),
    op(JEQ, 0, 0, "end"),
    op(LD_W_ABS, INET6_SOURCE + 8),
    op(JEQ, 0, 0, "end"),
    op(LD_W_ABS, INET6_SOURCE + 12),
    op(JEQ, 1, 0, "end"),
    op(LD_H_ABS, SKF_NET + 40), // the source port, behind a fixed header of 40 bytes
    op(SUB, PIN_PORT_BASE),
    op(JGE, slots * PIN_PORTS_PER_SLOT, "end", 0),
    op(RSH, Math.log2(PIN_PORTS_PER_SLOT)),
    op(RET_A),
  );
}

/** Each comparison has its own return, so that no jump is long, however many there are. */
function guestsInet(slot: number, networks: readonly Network[]): Instruction[] {
  const prefixes = [...new Set(networks.map(({ prefix }) => prefix))];
  const compare = prefixes.flatMap((prefix) => [
    ...section(op(TXA), op(AND, maskOf(prefix, 0))),
    ...networks
      .filter((network) => network.prefix === prefix)
      .flatMap(({ words: [word] }) => section(op(JEQ, word, 0, "end"), op(RET_K, slot))),
  ]);
  return compare.length === 0 ? [] : [...section(op(LD_W_ABS, INET_SOURCE), op(TAX)), ...compare];
}

function guestsInet6(slot: number, networks: readonly Network[]): Instruction[] {
  const used = Math.max(0, ...networks.map(({ prefix }) => Math.ceil(prefix / 32)));
  const words = [0, 1, 2, 3].slice(0, used);
  return [
    ...words.flatMap((at) => section(op(LD_W_ABS, INET6_SOURCE + 4 * at), op(ST, at))),
    ...networks.flatMap((network) => section(...sameWords(network), op(RET_K, slot))),
  ];
}

/** Goes to the section's end unless the address in M[0..3] is in the network. */
function sameWords({ words, prefix }: Network): ReturnType<typeof op>[] {
  return words.slice(0, Math.ceil(prefix / 32)).flatMap((word, at) => {
    const mask = maskOf(prefix, at);
    return [op(LD_MEM, at), ...(mask === 0xffff_ffff ? [] : [op(AND, mask)]), op(JEQ, word, 0, "end")];
  });
}

/** What depends on the address that a packet of this family comes from. It falls through with the hash in A, if it is asked for. */
function byClient(plan: SteeringPlan, family: "inet" | "inet6", isHashed: boolean): Instruction[] {
  const { slots, pins, guests, sticky } = plan;
  const networks = guests?.networks.filter((network) => network.family === family) ?? [];
  const slot = guests?.slot ?? 0;
  const isInet = family === "inet";
  return [
    ...(pins ? (isInet ? pinInet(slots) : pinInet6(slots)) : []),
    ...(isInet ? guestsInet(slot, networks) : guestsInet6(slot, networks)),
    ...(isHashed && typeof sticky === "number" ? (isInet ? hashInet(sticky) : hashInet6(sticky)) : []),
  ];
}

/** The same for a packet of either family: its version nibble tells (a dual-stack socket meets both). */
function byVersion(inet: readonly Instruction[], inet6: readonly Instruction[]): Instruction[] {
  if (inet.length === 0 && inet6.length === 0) return [];
  return [
    ...section(op(LD_B_ABS, SKF_NET), op(RSH, 4), op(JEQ, 4, 1, 0)),
    skip(inet.length + 1),
    ...inet,
    skip(inet6.length),
    ...inet6,
  ];
}

interface Range {
  readonly slot: number;
  /** The first number that is the next range's. */
  readonly end: number;
}

/**
 * The shares as ranges of 0 … 9,999, without those that are empty. The ends are rounded, not the lengths: so the first range never
 * shrinks while its share grows, whatever the others do; and 0 stays 0 and 1 stays 1.
 */
function rangesOf(shares: readonly Share[]): Range[] {
  let sum = 0;
  let begin = 0;
  const ranges: Range[] = [];
  for (const { slot, share } of shares) {
    sum += share;
    const end = Math.min(WEIGHT_UNITS, Math.round(sum * WEIGHT_UNITS));
    if (end > begin) ranges.push({ slot, end });
    begin = end;
  }
  const rest = Math.abs(1 - sum) * WEIGHT_UNITS;
  if (rest > shares.length || ranges.length === 0) {
    throw new Error(`the shares do not sum to 1 but miss it by ${1 - sum}`);
  }
  return ranges;
}

/** Takes a number in A to a slot. */
function draw(ranges: readonly Range[]): Instruction[] {
  const last = ranges.at(-1);
  if (last === undefined) throw new Error("weights without a slot");
  if (ranges.length === 1) return section(op(RET_K, last.slot));
  return [
    ...section(op(MOD, WEIGHT_UNITS)),
    ...ranges.slice(0, -1).flatMap(({ slot, end }) => section(op(JGE, end, "end", 0), op(RET_K, slot))),
    ...section(op(RET_K, last.slot)),
  ];
}

/**
 * The program, as an array of struct sock_filter in the machine's byte order.
 *
 * @throws CodedError VALUE_INVALID when there are more networks than a program has room for; Error (a bug) when a share or
 * guests name a slot that does not exist, the shares do not sum to 1 or the salt is no whole number.
 */
export function compileSteering(plan: SteeringPlan): Uint8Array {
  assertPossible(plan);
  const ranges = rangesOf(plan.shares);
  const isSticky = typeof plan.sticky === "number";
  const isDrawn = ranges.length > 1;
  const inet = byClient(plan, "inet", isDrawn);
  return encode([
    ...(plan.family === "inet" ? inet : byVersion(inet, byClient(plan, "inet6", isDrawn))),
    ...(isDrawn && !isSticky ? section(op(LD_W_ABS, SKF_AD_RANDOM)) : []),
    ...draw(ranges),
  ]);
}

function assertPossible({ slots, shares, guests }: SteeringPlan): void {
  if (slots < 1 || slots > MAX_SLOTS) throw new Error(`a pool of ${slots} slots`);
  for (const { slot, share } of shares) {
    if (slot < 0 || slot >= slots) throw new Error(`a share for slot ${slot} of ${slots}`);
    if (!(share >= 0 && share <= 1)) throw new Error(`a share of ${share}`);
  }
  if (guests === undefined || guests === null) return;
  if (guests.slot < 0 || guests.slot >= slots) throw new Error(`guests of slot ${guests.slot} of ${slots}`);
  assertFew(guests.networks.length);
}
