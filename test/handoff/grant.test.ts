/** The handoff against a launcher that is the test: what is sent, and what is made of its answers. */
import { fstatSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Channel } from "../../handoff/channel.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import {
  asU32,
  encodeFrame,
  parseFrame,
  textField,
  u32Field,
  u64Field,
  type Field,
} from "../../handoff/frame.ts";
import { grant, type Offer } from "../../handoff/grant.ts";
import { native } from "../../handoff/native.ts";
import { expectTableUnchanged, receive } from "./native-support.ts";

expectTableUnchanged();

const ACK = 2;
const FAIL = 3;
const DEADLINE_MS = 5_000;

let channel: Channel;
let peer: Descriptor;
let specification: Descriptor;
let socket: Descriptor;
let file: Descriptor;
let offers: readonly Offer[] = [];
beforeEach(() => {
  const [ours, theirs] = native.seqpacketPair();
  channel = new Channel(new Descriptor(ours));
  peer = new Descriptor(theirs);
  specification = new Descriptor(native.memfd("specification"));
  socket = new Descriptor(native.socket("inet", "stream", false));
  file = new Descriptor(native.memfd("file"));
  offers = [
    { name: "web", fd: socket.fd },
    { name: "state", fd: file.fd },
  ];
});
afterEach(() => {
  channel.close();
  for (const one of [peer, specification, socket, file]) one.close();
});

interface Heard {
  readonly total: number | null;
  readonly entries: readonly { kind: number; identity: bigint; name: string }[];
  /** Whether each descriptor that came is what its entry says. */
  readonly isTrue: readonly boolean[];
  readonly more: boolean;
}

/** The next GRANT frame, as the launcher reads it. */
async function hears(): Promise<Heard> {
  const { bytes, descriptors } = await receive(peer.fd);
  const frame = parseFrame(bytes);
  if (typeof frame === "string") throw new Error(frame);
  const [total, ...fields] = frame.fields;
  const entries = fields.map(({ value }) => ({
    kind: value[0] ?? -1,
    identity: Buffer.from(value).readBigUInt64LE(1),
    name: Buffer.from(value.subarray(9)).toString(),
  }));
  const isTrue = descriptors.map((fd, i) => identityOf(fd, entries[i]?.kind ?? -1) === entries[i]?.identity);
  for (const fd of descriptors) native.close(fd);
  return { total: asU32(total), entries, isTrue, more: frame.flags === 1 };
}

function identityOf(fd: number, kind: number): bigint {
  return kind === 1 ? native.cookie(fd) : BigInt(fstatSync(fd).ino);
}

function says(type: number, fields: readonly Field[], descriptors: readonly number[] = []): void {
  expect(native.sendMessage(peer.fd, encodeFrame({ type, flags: 0, fields }), descriptors)).toBe(true);
}

const identities = (): bigint[] => [native.cookie(socket.fd), BigInt(fstatSync(file.fd).ino)];

function acknowledges(count: number, read: readonly bigint[], descriptors: readonly number[] = []): void {
  says(ACK, [u32Field(3, count), u64Field(4, read)], descriptors);
}

/** The code of what the grant fails with. */
async function failure(granting: Promise<void>): Promise<unknown> {
  return granting.then(
    () => "it did not fail",
    (error: unknown) => error,
  );
}

it("each descriptor is named, with its identity, the specification first; they stay the sender's", async () => {
  const granting = grant(channel, specification.fd, offers, DEADLINE_MS);
  expect(await hears()).toEqual({
    total: 3,
    entries: [
      { kind: 0, identity: BigInt(specification.inode()), name: "" },
      { kind: 1, identity: native.cookie(socket.fd), name: "web" },
      { kind: 2, identity: BigInt(file.inode()), name: "state" },
    ],
    isTrue: [true, true, true],
    more: false,
  });
  acknowledges(2, identities());
  await granting;
  expect([specification.open, socket.open, file.open]).toEqual([true, true, true]);
});

it("more descriptors than a message carries go in several, and each is told to be followed", async () => {
  const many = Array.from({ length: 600 }, (_, i) => ({ name: `n${i}`, fd: socket.fd }));
  const granting = grant(channel, specification.fd, many, DEADLINE_MS);
  const frames = [await hears(), await hears(), await hears()];
  expect(frames.map(({ entries, total, more }) => [entries.length, total, more])).toEqual([
    [250, 601, true],
    [250, 601, true],
    [101, 601, false],
  ]);
  expect(frames.flatMap(({ isTrue }) => isTrue).every(Boolean)).toBe(true);
  acknowledges(600, Array<bigint>(600).fill(native.cookie(socket.fd)));
  await granting;
});

it.each<[string, string, () => void]>([
  ["another socket", "HANDOFF_IDENTITY_MISMATCH", () => acknowledges(2, [1n, identities()[1] ?? 0n])],
  ["them in another order", "HANDOFF_IDENTITY_MISMATCH", () => acknowledges(2, identities().reverse())],
  ["fewer identities than it counts", "HANDOFF_VIOLATION", () => acknowledges(2, identities().slice(1))],
  [
    "more identities than it counts",
    "HANDOFF_VIOLATION",
    () => acknowledges(2, [...identities(), ...identities()]),
  ],
  ["too few", "HANDOFF_DESCRIPTORS_LOST", () => acknowledges(1, identities().slice(0, 1))],
  ["too many", "HANDOFF_DESCRIPTORS_LOST", () => acknowledges(3, [...identities(), 7n])],
  ["nothing, and says OK", "HANDOFF_VIOLATION", () => says(4, [])],
  ["descriptors to us", "HANDOFF_VIOLATION", () => acknowledges(2, identities(), [file.fd, file.fd])],
  ["nonsense", "HANDOFF_VIOLATION", () => says(ACK, [])],
])("a launcher that acknowledges %s fails the handoff: %s", async (_, code, answer) => {
  const granting = failure(grant(channel, specification.fd, offers, DEADLINE_MS));
  await hears();
  answer();
  expect(await granting).toMatchObject({ code });
});

it("the name of a descriptor that arrived as another one is told", async () => {
  const granting = failure(grant(channel, specification.fd, offers, DEADLINE_MS));
  acknowledges(2, [identities()[0] ?? 0n, 99n]);
  await hears();
  expect(await granting).toMatchObject({
    message: "the descriptor for state arrived as another one than was sent; nothing was started with it",
  });
});

it.each<[string, number, string, string]>([
  ["exec", 2, "x", "command not found: x; give a path"],
  ["exec", 13, "x", "cannot execute x: permission denied; make it executable (chmod +x)"],
  ["exec", 8, "x", 'cannot execute x: not a program; does the script begin with "#!"?'],
  ["exec", 7, "x", "cannot execute x: E2BIG"],
  ["exec", 9999, "x", "cannot execute x: errno 9999"],
  ["directory", 2, "/x", "cannot enter the directory /x: it does not exist; was this version installed?"],
  ["directory", 13, "/x", "cannot enter the directory /x: EACCES"],
  ["identity", 1, "setgroups", "cannot change to the service's user: EPERM (setgroups); the daemon must run"],
  ["limits", 1, "limit 7", "cannot set the limit 7: EPERM; it may be above the daemon's own hard limit"],
  ["grant", 71, "x", 'the launcher failed at "grant": EPROTO (x)'],
])("a launcher that fails at %s with errno %i about %s is quoted as: %s", async (step, errno, text, said) => {
  const granting = failure(grant(channel, specification.fd, offers, DEADLINE_MS));
  await hears();
  says(FAIL, [textField(5, step), u32Field(6, errno), textField(7, text)]);
  const error = await granting;
  expect(error).toMatchObject({ code: "LAUNCH_FAILED", details: { step, errno, text } });
  expect((error as Error).message.startsWith(said)).toBe(true);
});

it.each([
  ["before it has read anything", false],
  ["with the descriptors in its hands", true],
])("a launcher that dies %s fails the handoff", async (_, reads) => {
  const granting = failure(grant(channel, specification.fd, offers, DEADLINE_MS));
  if (reads) await hears();
  peer.close();
  expect(await granting).toMatchObject({ code: "HANDOFF_PEER_GONE" });
});

it("a launcher that dies between two messages fails the handoff", async () => {
  const many = Array.from({ length: 300 }, (_, i) => ({ name: `n${i}`, fd: socket.fd }));
  const granting = failure(grant(channel, specification.fd, many, DEADLINE_MS));
  expect((await hears()).more).toBe(true);
  peer.close();
  expect(await granting).toMatchObject({ code: "HANDOFF_PEER_GONE" });
});

it("a launcher that says nothing fails the handoff at its deadline", async () => {
  expect(await failure(grant(channel, specification.fd, offers, 20))).toMatchObject({
    code: "HANDOFF_TIMEOUT",
    message: "the handoff of descriptors took longer than 20 ms",
  });
  expect(channel.open).toBe(false);
});
