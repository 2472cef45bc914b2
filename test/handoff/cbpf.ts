/** Runs classic BPF (<linux/bpf_common.h>) as net/core/filter.c does, for the instructions that steering.ts may use. */

/** What the program can look at: the packet from its network header on, and the random number it draws. */
export interface Packet {
  readonly bytes: Uint8Array;
  readonly random: number;
}

const SKF_AD_RANDOM = 0xffff_f000 + 56;
const SKF_NET = 0xfff0_0000;
const MAX_INSTRUCTIONS = 4096;
const MEMORY_WORDS = 16;

interface Decoded {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const decoded = new WeakMap<Uint8Array, readonly Decoded[]>();

function decode(program: Uint8Array): readonly Decoded[] {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const length = program.length / 8;
  if (!Number.isInteger(length) || length < 1 || length > MAX_INSTRUCTIONS)
    throw new Error(`${length} instructions`);
  const instructions = Array.from({ length }, (_, pc) => ({
    code: view.getUint16(pc * 8, true),
    jt: view.getUint8(pc * 8 + 2),
    jf: view.getUint8(pc * 8 + 3),
    k: view.getUint32(pc * 8 + 4, true),
  }));
  decoded.set(program, instructions);
  return instructions;
}

/** What the program returns. Throws where the kernel's verifier would refuse it, or could end it early. */
export function run(program: Uint8Array, packet: Packet): number {
  const instructions = decoded.get(program) ?? decode(program);
  let a = 0;
  let x: number | undefined;
  const memory: (number | undefined)[] = [];
  for (let pc = 0; pc < instructions.length; pc++) {
    const { code, jt, jf, k } = instructions[pc] as Decoded;
    switch (code) {
      case 0x20: // ld [k]
        a = k === SKF_AD_RANDOM ? packet.random : load(packet, k, 4);
        break;
      case 0x28: // ldh [k]
        a = load(packet, k, 2);
        break;
      case 0x30: // ldb [k]
        a = load(packet, k, 1);
        break;
      case 0x60: // ld M[k]
        a = known(memory[k], `M[${k}]`);
        break;
      case 0x61: // ldx M[k]
        x = known(memory[k], `M[${k}]`);
        break;
      case 0x02: // st M[k]
        if (k >= MEMORY_WORDS) throw new Error(`M[${k}]`);
        memory[k] = a;
        break;
      case 0x07: // tax
        x = a;
        break;
      case 0x87: // txa
        a = known(x, "X");
        break;
      case 0xa4: // xor #k
        a = (a ^ k) >>> 0;
        break;
      case 0xac: // xor x
        a = (a ^ known(x, "X")) >>> 0;
        break;
      case 0x24: // mul #k
        a = Math.imul(a, k) >>> 0;
        break;
      case 0x54: // and #k
        a = (a & k) >>> 0;
        break;
      case 0x14: // sub #k
        a = (a - k) >>> 0;
        break;
      case 0x74: // rsh #k
        a >>>= k;
        break;
      case 0x94: // mod #k
        if (k === 0) throw new Error("mod 0");
        a %= k;
        break;
      case 0x05: // ja
        pc += k;
        break;
      case 0x15: // jeq
        pc += a === k ? jt : jf;
        break;
      case 0x35: // jge
        pc += a >= k ? jt : jf;
        break;
      case 0x06: // ret #k
        return k;
      case 0x16: // ret a
        return a;
      default:
        throw new Error(`the instruction ${code.toString(16)} at ${pc}`);
    }
  }
  throw new Error("it ran off the end");
}

/** What was not written before is 0 in X and refused in M: here it is a mistake in both. */
function known(value: number | undefined, what: string): number {
  if (value === undefined) throw new Error(`${what} is read and was not written`);
  return value;
}

/** Out of bounds the kernel ends the program with 0, which is a slot: a program must never get there. */
function load({ bytes }: Packet, k: number, size: 1 | 2 | 4): number {
  const at = k - SKF_NET;
  if (k < SKF_NET || at + size > bytes.length) throw new Error(`a load of ${size} at ${k.toString(16)}`);
  let value = 0;
  for (let i = at; i < at + size; i++) value = value * 256 + (bytes[i] ?? 0);
  return value;
}

/** The start of a SYN over IPv4: a header of 20 bytes, then TCP's, with not one byte more. */
export function inetPacket(source: string, random = 0): Packet {
  const bytes = new Uint8Array(40);
  bytes[0] = 0x45;
  bytes.set(source.split(".").map(Number), 12);
  bytes.set([127, 0, 0, 1], 16);
  return { bytes, random };
}

/** The start of a SYN over IPv6. `source` is its 16 bytes. */
export function inet6Packet(source: readonly number[], port: number, random = 0): Packet {
  const bytes = new Uint8Array(60);
  bytes[0] = 0x60;
  bytes.set(source, 8);
  bytes[39] = 1;
  new DataView(bytes.buffer).setUint16(40, port);
  return { bytes, random };
}

/** ::1 */
export const LOOPBACK6: readonly number[] = [...Array.from({ length: 15 }, () => 0), 1];

/** The 16 bytes of an IPv6 address that is written with all of its eight groups, or with a "::" at one place. */
export function inet6Bytes(text: string): number[] {
  const [head = "", tail] = text.split("::");
  const groups = (part: string | undefined): number[] =>
    part === undefined || part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail)];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return [...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 255]);
}

/** The start of a SYN from this address, of either family. */
export function packetFrom(source: string, random = 0, port = 40_000): Packet {
  return source.includes(":") ? inet6Packet(inet6Bytes(source), port, random) : inetPacket(source, random);
}
