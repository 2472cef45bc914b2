/** Runs classic BPF (<linux/bpf_common.h>) as net/core/filter.c does, for the instructions that steering.ts may use. */

/** What the program can look at: the packet from its network header on, and the random number it draws. */
export interface Packet {
  readonly bytes: Uint8Array;
  readonly random: number;
}

const SKF_AD_RANDOM = 0xffff_f000 + 56;
const SKF_NET = 0xfff0_0000;
const MAX_INSTRUCTIONS = 4096;

/** What the program returns. Throws where the kernel's verifier would refuse it, or could end it early. */
export function run(program: Uint8Array, packet: Packet): number {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const length = program.length / 8;
  if (!Number.isInteger(length) || length < 1 || length > MAX_INSTRUCTIONS)
    throw new Error(`${length} instructions`);
  let a = 0;
  for (let pc = 0; pc < length; pc++) {
    const code = view.getUint16(pc * 8, true);
    const [jt, jf] = [view.getUint8(pc * 8 + 2), view.getUint8(pc * 8 + 3)];
    const k = view.getUint32(pc * 8 + 4, true);
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

/** Out of bounds the kernel ends the program with 0, which is a slot: a program must never get there. */
function load({ bytes }: Packet, k: number, size: 1 | 2 | 4): number {
  const at = k - SKF_NET;
  if (k < SKF_NET || at + size > bytes.length) throw new Error(`a load of ${size} at ${k.toString(16)}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return size === 4 ? view.getUint32(at) : size === 2 ? view.getUint16(at) : view.getUint8(at);
}

/** The start of a SYN over IPv4: a header of 20 bytes, then TCP's. */
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
