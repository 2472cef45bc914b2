/**
 * Classic BPF, as far as a program for SO_ATTACH_REUSEPORT_CBPF needs it: instructions, jumps by name, bytes
 * (<linux/filter.h>, <linux/bpf_common.h>). What the programs mean is steering.ts's and client-hash.ts's.
 *
 * A load beyond the end of the packet ends a program with 0 (net/core/filter.c), which would be a slot: nothing is read here but
 * what every SYN has.
 */

/** Loads into A: from the packet (big-endian), from M[k]. */
export const LD_W_ABS = 0x20;
export const LD_H_ABS = 0x28;
export const LD_B_ABS = 0x30;
export const LD_MEM = 0x60;
export const LDX_MEM = 0x61;
export const ST = 0x02;
export const TAX = 0x07;
export const TXA = 0x87;
export const AND = 0x54;
export const SUB = 0x14;
export const MUL = 0x24;
export const RSH = 0x74;
export const MOD = 0x94;
export const XOR = 0xa4;
export const XOR_X = 0xac;
export const JA = 0x05;
export const JEQ = 0x15;
export const JGE = 0x35;
export const RET_K = 0x06;
export const RET_A = 0x16;

/** Where LD_W_ABS finds a random number. */
export const SKF_AD_RANDOM = 0xffff_f000 + 56;
/** The first byte of the network header. */
export const SKF_NET = 0xfff0_0000;
/** Of an IPv4 packet's source address; of the first of four words of an IPv6 one's. */
export const INET_SOURCE = SKF_NET + 12;
export const INET6_SOURCE = SKF_NET + 8;

/** BPF_MAXINSNS */
const MAX_INSTRUCTIONS = 4096;
const INSTRUCTION_BYTES = 8;

/** One struct sock_filter. `jt` and `jf` skip that many instructions. */
export interface Instruction {
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

export function op(code: number, k = 0, jt: Target = 0, jf: Target = 0): Draft {
  return { code, k, jt, jf };
}

/** Resolves "end" to the first instruction behind the section, which is short: see `encode`. */
export function section(...drafts: readonly Draft[]): Instruction[] {
  const resolve = (target: Target, at: number): number =>
    target === "end" ? drafts.length - at - 1 : target;
  return drafts.map(({ code, k, jt, jf }, at) => ({ code, k, jt: resolve(jt, at), jf: resolve(jf, at) }));
}

/** Goes over the next `count` instructions, however many: a conditional jump reaches no further than 255. */
export function skip(count: number): Instruction {
  return { code: JA, k: count, jt: 0, jf: 0 };
}

/**
 * The program as an array of struct sock_filter. Throws an Error (a bug) where the kernel would take another program than
 * was meant, or none.
 */
export function encode(program: readonly Instruction[]): Uint8Array {
  if (program.length > MAX_INSTRUCTIONS) throw new Error(`a program of ${program.length} instructions`);
  const bytes = new Uint8Array(program.length * INSTRUCTION_BYTES);
  const view = new DataView(bytes.buffer);
  program.forEach(({ code, jt, jf, k }, index) => {
    if (jt > 255 || jf > 255) throw new Error(`a jump over ${Math.max(jt, jf)} instructions`);
    const at = index * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jt);
    view.setUint8(at + 3, jf);
    view.setUint32(at + 4, k >>> 0, true);
  });
  return bytes;
}
