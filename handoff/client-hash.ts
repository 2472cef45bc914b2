/**
 * A client's place in 0 … 2^32-1, by its address: what `share: sticky` puts in the place of a random number.
 *
 * An IPv4 client is its address. Of an IPv6 client in the global unicast space (2000::/3) only the first 64 bits count: the others are
 * its own to choose (RFC 4291, 2.5.4), and privacy extensions (RFC 8981) choose anew every day, so that a host would change
 * sides when its address does. Elsewhere (::1, fc00::/7, fe80::/10, 64:ff9b::/96, in whose one /64 all of IPv4 may
 * stand) the whole address counts.
 *
 * The mixing is MurmurHash3's finalizer (public domain), one round for each word: a bijection of 32 bits in which each bit of
 * the input moves half of the output's.
 */
import {
  AND,
  INET6_SOURCE,
  INET_SOURCE,
  type Instruction,
  JEQ,
  LD_MEM,
  LD_W_ABS,
  LDX_MEM,
  MUL,
  RSH,
  section,
  op,
  skip,
  ST,
  TAX,
  XOR,
  XOR_X,
} from "./classic-bpf.ts";

const FACTORS = [0x85eb_ca6b, 0xc2b2_ae35] as const;
const SHIFTS = [16, 13, 16] as const;

/** 2000::/3, in an address's first word. */
const GLOBAL_MASK = 0xe000_0000;
const GLOBAL = 0x2000_0000;

/** M[HASH] holds the hash of the words so far. */
const HASH = 15;

/** Leaves the hash of an IPv4 packet's source in A. */
export function hashInet(salt: number): Instruction[] {
  return [...section(op(LD_W_ABS, INET_SOURCE), op(XOR, spread(salt))), ...MIX];
}

/** Leaves the hash of an IPv6 packet's source in A. */
export function hashInet6(salt: number): Instruction[] {
  const host = [...next(2), ...next(3)];
  return [
    ...section(op(LD_W_ABS, INET6_SOURCE), op(XOR, spread(salt))),
    ...MIX,
    ...section(op(ST, HASH)),
    ...next(1),
    ...section(op(LD_W_ABS, INET6_SOURCE), op(AND, GLOBAL_MASK), op(JEQ, GLOBAL, 0, 1)),
    skip(host.length),
    ...host,
    ...section(op(LD_MEM, HASH)),
  ];
}

/** One more word of an IPv6 source into M[HASH]. */
function next(word: number): Instruction[] {
  return [
    ...section(op(LDX_MEM, HASH), op(LD_W_ABS, INET6_SOURCE + 4 * word), op(XOR_X)),
    ...MIX,
    ...section(op(ST, HASH)),
  ];
}

/** A = A ^ A >>> 16, times a factor, and so on. Uses X. */
const MIX: readonly Instruction[] = SHIFTS.flatMap((bits, round) => {
  const factor = FACTORS[round];
  const shifted = section(op(TAX), op(RSH, bits), op(XOR_X));
  return factor === undefined ? shifted : [...shifted, ...section(op(MUL, factor))];
});

/** The same in here: near salts shall give hashes that have nothing to do with each other. */
function mix(value: number): number {
  return SHIFTS.reduce((hash, bits, round) => {
    const shifted = (hash ^ (hash >>> bits)) >>> 0;
    const factor = FACTORS[round];
    return factor === undefined ? shifted : Math.imul(shifted, factor) >>> 0;
  }, value >>> 0);
}

/** 32 bits that depend on all of the salt's. */
function spread(salt: number): number {
  if (!Number.isSafeInteger(salt) || salt < 0) throw new Error(`a salt of ${salt}`);
  return mix((mix(Math.floor(salt / 2 ** 32) + 1) ^ salt) >>> 0);
}
