/**
 * Weights, gate and pin as a classic BPF program for SO_ATTACH_REUSEPORT_CBPF. A pure compiler.
 *
 * The program runs once per new TCP connection, at its SYN; what it returns is the index of the group's member, in the order of
 * listen(2) (net/core/sock_reuseport.c). An index that does not exist makes the kernel fall back to its hash over all
 * members, gated ones included: so nothing here ever returns one.
 *
 *   pin      source 127.77.0.N (or ::1 with a reserved source port)  → slot N-1, whatever the weights
 *   weights  a random number below 10,000 against cumulative bounds   → a slot
 *   gate     a slot that no weight names is never returned but by a pin
 */

/** A slot's share of new connections, 0..1. */
export interface Share {
  readonly slot: number;
  readonly share: number;
}

export interface SteeringPlan {
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

// <linux/filter.h> and <linux/bpf_common.h>
const LD_W_ABS = 0x20;
const LD_H_ABS = 0x28;
const LD_B_ABS = 0x30;
const AND = 0x54;
const SUB = 0x14;
const RSH = 0x74;
const MOD = 0x94;
const JA = 0x05;
const JEQ = 0x15;
const JGE = 0x35;
const RET_K = 0x06;
const RET_A = 0x16;
const SKF_AD_RANDOM = 0xffff_f000 + 56;
const SKF_NET = 0xfff0_0000;

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** Where to go: a number of instructions to skip, or to the end of the section. */
type Target = number | "end";

interface Draft {
  readonly code: number;
  readonly k: number;
  readonly jt: Target;
  readonly jf: Target;
}

function op(code: number, k: number, jt: Target = 0, jf: Target = 0): Draft {
  return { code, k, jt, jf };
}

/** Resolves "end" to the first instruction behind the section. */
function section(drafts: readonly Draft[]): Instruction[] {
  const resolve = (target: Target, at: number): number =>
    target === "end" ? drafts.length - at - 1 : target;
  return drafts.map(({ code, k, jt, jf }, at) => ({ code, k, jt: resolve(jt, at), jf: resolve(jf, at) }));
}

function pinInet(slots: number): Draft[] {
  return [
    op(LD_W_ABS, SKF_NET + 12), // the source address
    op(AND, 0xffff_0000),
    op(JEQ, PIN_NETWORK, 0, "end"),
    op(LD_W_ABS, SKF_NET + 12),
    op(AND, 0xffff),
    op(SUB, 1), // 127.77.0.0 becomes huge and is no slot
    op(JGE, slots, "end", 0),
    op(RET_A, 0),
  ];
}

function pinInet6(slots: number): Draft[] {
  return [
    op(LD_W_ABS, SKF_NET + 8),
    op(JEQ, 0, 0, "end"),
    op(LD_W_ABS, SKF_NET + 12),
    op(JEQ, 0, 0, "end"),
    op(LD_W_ABS, SKF_NET + 16),
    op(JEQ, 0, 0, "end"),
    op(LD_W_ABS, SKF_NET + 20),
    op(JEQ, 1, 0, "end"),
    op(LD_H_ABS, SKF_NET + 40), // the source port, behind a fixed header of 40 bytes
    op(SUB, PIN_PORT_BASE),
    op(JGE, slots * PIN_PORTS_PER_SLOT, "end", 0),
    op(RSH, Math.log2(PIN_PORTS_PER_SLOT)),
    op(RET_A, 0),
  ];
}

function pins(plan: SteeringPlan): Instruction[] {
  const inet = section(pinInet(plan.slots));
  if (plan.family === "inet") return inet;
  // A dual-stack socket meets both: the packet's version nibble tells (the first byte of the network header).
  const inet6 = section(pinInet6(plan.slots));
  return [
    ...section([op(LD_B_ABS, SKF_NET), op(RSH, 4), op(JEQ, 4, 0, inet.length + 1)]),
    ...inet,
    { code: JA, k: inet6.length, jt: 0, jf: 0 },
    ...inet6,
  ];
}

function weights(shares: readonly Share[]): Instruction[] {
  const units = toUnits(shares).filter(({ share }) => share > 0);
  const last = units.at(-1);
  if (last === undefined) throw new Error("weights without a slot");
  if (units.length === 1) return section([op(RET_K, last.slot)]);
  const program: Draft[] = [op(LD_W_ABS, SKF_AD_RANDOM), op(MOD, WEIGHT_UNITS)];
  let bound = 0;
  for (const { slot, share } of units.slice(0, -1)) {
    bound += share;
    program.push(op(JGE, bound, 1, 0), op(RET_K, slot));
  }
  program.push(op(RET_K, last.slot));
  return section(program);
}

/** Shares in units of 1/10,000 that sum to 10,000: rounding falls to the largest share, so 0 stays 0 and 1 stays 1. */
function toUnits(shares: readonly Share[]): Share[] {
  const units = shares.map(({ slot, share }) => ({ slot, share: Math.round(share * WEIGHT_UNITS) }));
  const rest = WEIGHT_UNITS - units.reduce((sum, { share }) => sum + share, 0);
  if (Math.abs(rest) > shares.length) throw new Error(`the shares do not sum to 1 but miss it by ${rest}`);
  const largest = units.reduce((a, b) => (b.share > a.share ? b : a), { slot: -1, share: -1 });
  return units.map((unit) => (unit.slot === largest.slot ? { ...unit, share: unit.share + rest } : unit));
}

/**
 * The program, as an array of struct sock_filter in the machine's byte order.
 *
 * @throws Error (a bug) when a share names a slot that does not exist or the shares do not sum to 1.
 */
export function compileSteering(plan: SteeringPlan): Uint8Array {
  if (plan.slots < 1 || plan.slots > MAX_SLOTS) throw new Error(`a pool of ${plan.slots} slots`);
  for (const { slot, share } of plan.shares) {
    if (slot < 0 || slot >= plan.slots) throw new Error(`a share for slot ${slot} of ${plan.slots}`);
    if (!(share >= 0 && share <= 1)) throw new Error(`a share of ${share}`);
  }
  const program = [...(plan.pins ? pins(plan) : []), ...weights(plan.shares)];
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  program.forEach(({ code, jt, jf, k }, index) => {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, jt);
    view.setUint8(index * 8 + 3, jf);
    view.setUint32(index * 8 + 4, k >>> 0, true);
  });
  return bytes;
}
