/** What programs say on their channels, the test being the program. */
import { openSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ProgramChannel, SAID_NOTHING } from "../../../daemon/generation/program-channel.ts";
import { Channel } from "../../../handoff/channel.ts";
import { Descriptor } from "../../../handoff/descriptor.ts";
import { encodeFrame, type Field, textField, u32Field } from "../../../handoff/frame.ts";
import { failFrame, routeFrame, type Said } from "../../../handoff/messages.ts";
import { native } from "../../../handoff/native.ts";
import { expectTableUnchanged } from "../../handoff/native-support.ts";
import { eventually } from "../../support/processes.ts";

expectTableUnchanged();

const frame = (type: number, ...fields: Field[]): Uint8Array => encodeFrame({ type, flags: 0, fields });
const HELLO = frame(6, textField(11, "http/web"));
const WANT = frame(8);
const FAIL = failFrame("exec", 2, "node");
const MOVED = frame(10, u32Field(3, 5), u32Field(14, 1));
/** 256 connections, of no listener. */
const TOOK = frame(9, ...Array<Field>(256).fill({ key: 13, value: new Uint8Array(12) }));

let peer: Descriptor;
let program: ProgramChannel;
let said: Said[];
let violations: string[];
let now: number;
beforeEach(() => {
  const [ours, theirs] = native.seqpacketPair();
  peer = new Descriptor(theirs);
  [said, violations] = [[], []];
  now = 0;
  program = new ProgramChannel(
    new Channel(new Descriptor(ours)),
    SAID_NOTHING,
    { onSaid: (one) => said.push(one), onViolation: ({ message }) => violations.push(message) },
    () => now,
  );
});
afterEach(() => {
  program.close();
  peer.close();
});

function says(...frames: readonly Uint8Array[]): void {
  for (const one of frames) expect(native.sendMessage(peer.fd, one, [])).toBe(true);
}

const heard = (count: number): Promise<unknown> => eventually("words", () => said.length >= count);

it("what a program says is heard in its order, whenever it says it, and remembered", async () => {
  says(HELLO, MOVED);
  await heard(2);
  says(WANT, MOVED);
  await heard(4);
  expect(said.map(({ type }) => type)).toEqual(["hello", "moved", "want", "moved"]);
  expect(program.record).toEqual({ kinds: ["http/web"], wants: true, moved: 10, failed: 2 });
  program.answered();
  expect(program.record.wants).toBe(false);
  expect(violations).toEqual([]);
});

it("what waits already is heard at once when somebody has to know", () => {
  says(HELLO, TOOK, MOVED);
  program.catchUp();
  expect(said.map(({ type }) => type)).toEqual(["hello", "took", "moved"]);
});

it("while it is paused nothing is heard, and nothing lost", async () => {
  program.pause();
  says(HELLO, MOVED);
  await new Promise(setImmediate);
  expect(said).toEqual([]);
  program.listen();
  await heard(2);
});

it("a program that ends has said its last word, paused or not", () => {
  program.pause();
  says(MOVED);
  peer.close();
  expect(program.end()).toBeNull();
  expect(program.record.moved).toBe(5);
  expect([program.open, violations]).toEqual([false, []]);
});

it.each([
  ["before its end is known", true],
  ["together with its end", false],
])("a launcher that fails says why, %s", (_, isEarly) => {
  says(FAIL);
  if (isEarly) program.catchUp();
  expect(program.end()).toMatchObject({ code: "LAUNCH_FAILED", details: { step: "exec" } });
  expect(said).toEqual([]);
});

it("a program whose channel is closed is told so, though the keeper has a duplicate", async () => {
  const kept = native.duplicate(program.fd);
  says(frame(99));
  await eventually("the end", () => !program.open);
  expect(native.receiveMessage(peer.fd, new Uint8Array(10), 0)).toMatchObject({ length: 0 });
  expect(() => native.sendMessage(peer.fd, HELLO, [])).toThrow("EPIPE");
  native.close(kept);
});

it("a program that closes its end is within its rights", async () => {
  peer.close();
  await eventually("the end", () => !program.open);
  expect(violations).toEqual([]);
  expect(program.tell(routeFrame("send", 1, 1, []), 0)).toBe(false);
});

it("a program gets what it is told, with the descriptor, which stays ours", () => {
  const nothing = openSync("/dev/null", "r");
  expect(program.tell(routeFrame("take", 3, 2, ["http/web"]), nothing)).toBe(true);
  native.close(nothing);
  const buffer = new Uint8Array(1000);
  const { length = 0, descriptors = [] } = native.receiveMessage(peer.fd, buffer, 1) ?? {};
  const fields = [u32Field(12, 1), u32Field(9, 3), u32Field(10, 2), textField(11, "http/web")];
  expect(buffer.subarray(0, length)).toEqual(frame(7, ...fields));
  for (const fd of descriptors) native.close(fd);
});

describe("a program loses its channel, and nothing else happens, when", () => {
  const notRead = "it does not read what it was sent";
  it.each<[string, readonly Uint8Array[], string]>([
    ["it says what a launcher says", [frame(5)], 'a program said "join"'],
    ["it says what only we say", [frame(7)], "unknown type 7"],
    ["it says twice that it could not be started", [FAIL, FAIL], 'a program said "fail"'],
    ["it says that it could not be started, and has spoken", [HELLO, FAIL], 'a program said "fail"'],
    ["it says nonsense", [new Uint8Array(100).fill(7)], "HOF1"],
    ["it is long-winded", [frame(8, textField(99, "x".repeat(33 * 1024)))], "too long"],
    [
      "it counts too many",
      [frame(9, ...Array<Field>(257).fill({ key: 13, value: new Uint8Array(12) }))],
      "256",
    ],
    ["it repeats itself", Array<Uint8Array>(101).fill(HELLO), "too much in too short a time"],
    ["it wants without end", Array<Uint8Array>(101).fill(WANT), "too much in too short a time"],
  ])("%s", async (_, frames, reason) => {
    // Its queue is shorter than that.
    for (const one of frames) {
      await eventually("room", () => !program.open || native.sendMessage(peer.fd, one, []));
    }
    await eventually("the end", () => !program.open);
    expect(violations).toEqual([expect.stringContaining(reason)]);
    expect(said.length).toBeLessThanOrEqual(100);
  });

  it("it moves more connections than there can be, in too short a time", () => {
    const most = Math.floor(200_000 / 257);
    for (let at = 0; at < most; at++) {
      says(TOOK);
      program.catchUp();
    }
    now += 1000;
    for (let at = 0; at < Math.floor(20_000 / 257); at++) {
      says(TOOK);
      program.catchUp();
    }
    expect([program.open, violations]).toEqual([true, []]);
    says(TOOK, TOOK);
    program.catchUp();
    expect([program.open, violations]).toEqual([
      false,
      [expect.stringContaining("too much in too short a time")],
    ]);
    expect(said.length).toBe(most + Math.floor(20_000 / 257) + 1);
  });

  it("it sends descriptors", async () => {
    const nothing = openSync("/dev/null", "r");
    native.sendMessage(peer.fd, HELLO, [nothing, nothing]);
    native.close(nothing);
    await eventually("the end", () => !program.open);
    expect(violations).toEqual([expect.stringContaining("sent descriptors")]);
  });

  it("it does not read", () => {
    while (program.tell(routeFrame("send", 1, 1, ["k".repeat(64)]), 0));
    expect([program.open, violations]).toEqual([false, [expect.stringContaining(notRead)]]);
  });
});
