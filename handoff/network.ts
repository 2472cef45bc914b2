/** Networks of clients, as people write them: an address and a prefix length, or an address alone. */
import { isIPv4, isIPv6 } from "node:net";
import { CodedError } from "./coded-error.ts";

export interface Network {
  readonly family: "inet" | "inet6";
  /** The address in 32-bit words, the first one first: one, or four. No bit behind the prefix is set. */
  readonly words: readonly number[];
  /** How many of its bits count. */
  readonly prefix: number;
}

/**
 * How many networks one program can tell apart: with so many of the longest kind it stays within what a kernel before 6.8
 * takes by default (net.core.optmem_max of 20,480 bytes).
 */
export const MAX_NETWORKS = 128;

const WORD_BITS = 32;
/** ::ffff:0:0/96, which IPv4 addresses are written in as IPv6 ones. */
const MAPPED = [0, 0, 0xffff] as const;
const MAPPED_PREFIX = 96;

function refuse(text: string, why: string): never {
  throw new CodedError("VALUE_INVALID", `"${text}" is not a network; ${why}`, { details: { network: text } });
}

/**
 * Reads `10.1.0.0/16`, `2001:db8::/32`, or one address. Throws VALUE_INVALID, which says what was probably meant.
 *
 * What is written must be the network's first address: `10.1.2.3/16` is a slip in one number or in the other, and would let in
 * 65,536 clients in place of one.
 */
export function parseNetwork(text: string): Network {
  const [host = "", bits, more] = text.split("/");
  const family = isIPv4(host) ? "inet" : isIPv6(host) && !host.includes("%") ? "inet6" : null;
  if (family === null || more !== undefined) refuse(text, sayHost(host));
  const words = family === "inet" ? inetWords(host) : inet6Words(host);
  const widest = words.length * WORD_BITS;
  if (bits !== undefined && !(/^(?:0|[1-9]\d{0,2})$/u.test(bits) && Number(bits) <= widest)) {
    refuse(
      text,
      `behind the "/" stands how many bits of the address count, 0 to ${widest}; write one such as "${host}/${family === "inet" ? 24 : 64}"`,
    );
  }
  const prefix = bits === undefined ? widest : Number(bits);
  const first = words.map((word, at) => (word & maskOf(prefix, at)) >>> 0);
  if (first.some((word, at) => word !== words[at])) {
    refuse(
      text,
      `the address has bits behind the first ${prefix}; write "${formatNetwork({ family, words: first, prefix })}" for the network, or "${formatHost(words)}" for the one address`,
    );
  }
  return unmapped(text, { family, words: first, prefix });
}

/** Reads them all. Throws VALUE_INVALID, also when there are more than `MAX_NETWORKS`. */
export function parseNetworks(texts: readonly string[]): Network[] {
  assertFew(texts.length);
  return texts.map((text) => parseNetwork(text));
}

/** Throws VALUE_INVALID when there are more networks than one program can tell apart. */
export function assertFew(count: number): void {
  if (count <= MAX_NETWORKS) return;
  throw new CodedError(
    "VALUE_INVALID",
    `${count} networks are too many for one program in the kernel, which has room for ${MAX_NETWORKS}; merge neighbours into larger networks`,
  );
}

/** Writes a network so that `parseNetwork` reads the same; a single address without its prefix length. */
export function formatNetwork({ words, prefix }: Network): string {
  const host = formatHost(words);
  return prefix === words.length * WORD_BITS ? host : `${host}/${prefix}`;
}

/** The bits of the word at this place that a prefix covers. */
export function maskOf(prefix: number, place: number): number {
  const bits = Math.min(WORD_BITS, Math.max(0, prefix - place * WORD_BITS));
  return bits === 0 ? 0 : (0xffff_ffff << (WORD_BITS - bits)) >>> 0;
}

function sayHost(host: string): string {
  if (host.includes("%")) return "a zone (%…) names an interface of one host; write the address without it";
  return 'an address and a prefix length are needed; write one such as "10.1.0.0/16"';
}

/** A packet from an IPv4 client is an IPv4 packet, also on a dual-stack socket: nothing would match this. */
function unmapped(text: string, network: Network): Network {
  const { family, words, prefix } = network;
  if (family === "inet" || prefix < MAPPED_PREFIX || MAPPED.some((word, at) => word !== words[at])) {
    return network;
  }
  const meant: Network = { family: "inet", words: words.slice(3), prefix: prefix - MAPPED_PREFIX };
  refuse(text, `it is an IPv4 network in IPv6 clothes; write "${formatNetwork(meant)}"`);
}

function inetWords(host: string): number[] {
  return [host.split(".").reduce((word, octet) => word * 256 + Number(octet), 0)];
}

function inet6Words(host: string): number[] {
  // The URL standard serialises an IPv6 address without its IPv4 notation and with one "::" at most.
  const canonical = new URL(`http://[${host}]/`).hostname.slice(1, -1);
  const [head = "", tail] = canonical.split("::");
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  const all = [...before, ...zeros, ...after];
  return [0, 2, 4, 6].map((at) => (all[at] ?? 0) * 0x1_0000 + (all[at + 1] ?? 0));
}

function formatHost(words: readonly number[]): string {
  const [only = 0] = words;
  if (words.length === 1) return [24, 16, 8, 0].map((shift) => (only >>> shift) & 255).join(".");
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff].map((group) => group.toString(16)));
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}
