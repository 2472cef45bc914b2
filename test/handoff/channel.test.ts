/** A channel whose peer is the test, and misbehaves. */
import { execFileSync } from "node:child_process";
import { openSync, readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Channel } from "../../handoff/channel.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { encodeFrame, textField, u32Field } from "../../handoff/frame.ts";
import { native } from "../../handoff/native.ts";
import { eventually } from "../support/processes.ts";
import { expectTableUnchanged, receive } from "./native-support.ts";

expectTableUnchanged();

const OK = encodeFrame({ type: 4, flags: 0, fields: [] });
const FAIL = encodeFrame({ type: 3, flags: 0, fields: [textField(5, "exec"), u32Field(6, 2)] });

let channel: Channel;
let peer: Descriptor;
beforeEach(() => {
  const [ours, theirs] = native.seqpacketPair();
  channel = new Channel(new Descriptor(ours));
  peer = new Descriptor(theirs);
});
afterEach(() => {
  channel.close();
  peer.close();
});

function says(bytes: Uint8Array, descriptors: readonly number[] = []): void {
  expect(native.sendMessage(peer.fd, bytes, descriptors)).toBe(true);
}

/** What the peer finds: a message's length, 0 for our end of file, null for nothing. */
function peerHears(): number | null {
  return native.receiveMessage(peer.fd, new Uint8Array(1000), 0)?.length ?? null;
}

it("hears what waits, and not without end what comes meanwhile", () => {
  let heard = 0;
  const again = (): void => {
    if (++heard < 10_000) says(OK);
  };
  channel.listen(again, 1000, () => undefined);
  says(OK);
  channel.catchUp();
  expect(heard).toBe(1000);
});

describe("receive()", () => {
  it("gives messages in their order, one at a time, with their descriptors", async () => {
    const nothing = openSync("/dev/null", "r");
    says(OK, [nothing, nothing]);
    says(FAIL);
    native.close(nothing);
    const first = await channel.receive("a test", 1000);
    expect([first.message.type, first.descriptors.length]).toEqual(["ok", 2]);
    for (const descriptor of first.descriptors) descriptor.close();
    const second = await channel.receive("a test", 1000);
    expect(second).toEqual({ message: { type: "fail", step: "exec", errno: 2, text: "" }, descriptors: [] });
  });

  it("waits for a message that comes later", async () => {
    const receiving = channel.receive("a test", 1000);
    setImmediate(() => says(OK));
    expect((await receiving).message).toEqual({ type: "ok" });
  });

  it("at its deadline says what was waited for, and closes: a late answer is nobody's", async () => {
    await expect(channel.receive("the answer of a test", 5)).rejects.toMatchObject({
      code: "HANDOFF_TIMEOUT",
      message: "the answer of a test took longer than 5 ms",
    });
    expect(channel.open).toBe(false);
    expect(peerHears()).toBe(0);
    await expect(channel.receive("another", 5)).rejects.toMatchObject({ code: "HANDOFF_TIMEOUT" });
  });

  it("is a bug when another one waits already, who is not disturbed", async () => {
    const receiving = channel.receive("a test", 1000);
    await expect(channel.receive("a second", 1000)).rejects.toThrow("two receivers");
    says(OK);
    expect((await receiving).message).toEqual({ type: "ok" });
  });

  it.each([
    ["before it waits", true],
    ["while it waits", false],
  ])("says that the peer has gone, where that was %s", async (_, before) => {
    if (before) peer.close();
    const receiving = channel.receive("a test", 1000);
    if (!before) setImmediate(() => peer.close());
    await expect(receiving).rejects.toMatchObject({ code: "HANDOFF_PEER_GONE" });
    expect(channel.open).toBe(false);
    expect(() => channel.send(OK)).toThrow("the other process ended");
  });
});

describe("a peer that breaks the protocol loses the channel, and its descriptors are closed:", () => {
  it.each<[string, Uint8Array, string]>([
    ["garbage", new Uint8Array(100).fill(7), "HOF1"],
    ["a type that nobody knows", encodeFrame({ type: 99, flags: 0, fields: [] }), "unknown type 99"],
    ["a frame that is cut off", FAIL.subarray(0, FAIL.length - 1), "length is not its body's"],
    ["a single byte", Uint8Array.of(0), "shorter than its header"],
  ])("%s", async (_, bytes, reason) => {
    const nothing = openSync("/dev/null", "r");
    says(bytes, [nothing, nothing, nothing]);
    native.close(nothing);
    const failure: unknown = await channel.receive("a test", 1000).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "HANDOFF_VIOLATION" });
    expect((failure as Error).message).toMatch(/^the peer broke the protocol: .*; the channel was closed$/);
    expect((failure as Error).message).toContain(reason);
    expect(peerHears()).toBe(0);
  });

  it("a message longer than any of ours", async () => {
    const size = 300 * 1024;
    native.setOption(peer.fd, 1, 32, 1 << 20); // SO_SNDBUFFORCE
    says(new Uint8Array(size).fill(1));
    await expect(channel.receive("a test", 1000)).rejects.toThrow("a message is too long");
  });

  it("a message that nobody asked for", async () => {
    const gone = new Promise<void>((resolve) => channel.watch(resolve));
    const nothing = openSync("/dev/null", "r");
    says(OK, [nothing]);
    native.close(nothing);
    await gone;
    expect(() => channel.send(OK)).toThrow("it spoke without being asked");
  });

  it("one that does not read", () => {
    expect(() => {
      for (;;) channel.send(new Uint8Array(4096).fill(1));
    }).toThrow("it does not read what it was sent");
    expect(channel.open).toBe(false);
  });
});

/** The soft limit of this process' open files, until it is disposed of. */
function limitedTo(files: number): Disposable {
  const [, soft = ""] = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  const set = (limit: number | string): void =>
    void execFileSync("prlimit", [`--pid=${process.pid}`, `--nofile=${limit}:`]);
  set(files);
  return { [Symbol.dispose]: () => set(soft) };
}

it("descriptors that were lost on the way are told, and those that came are closed", async () => {
  const before = readdirSync("/proc/self/fd").length;
  using _limit = limitedTo(before + 50);
  says(OK, Array<number>(200).fill(peer.fd));
  await expect(channel.receive("a test", 1000)).rejects.toMatchObject({ code: "HANDOFF_DESCRIPTORS_LOST" });
  expect(channel.open).toBe(false);
  expect(peerHears()).toBe(0);
  // By threads of their own: until then not even prlimit could be started, which takes the limit away.
  await eventually("the closing", () => {
    try {
      return readdirSync("/proc/self/fd").length <= before;
    } catch {
      return false; // EMFILE
    }
  });
});

describe("watch()", () => {
  it("calls back once when the peer goes, though nobody receives", async () => {
    let calls = 0;
    const gone = new Promise<void>((resolve) => {
      channel.watch(() => {
        calls++;
        resolve();
      });
    });
    peer.close();
    await gone;
    channel.close();
    expect([calls, channel.open]).toEqual([1, false]);
  });

  it("does not call back for our own close", async () => {
    channel.watch(() => expect.unreachable());
    channel.close();
    await new Promise(setImmediate);
    expect(peerHears()).toBe(0);
  });

  it("does not stand in the way of requests and answers", async () => {
    let isGone = false;
    channel.watch(() => (isGone = true));
    for (let i = 0; i < 100; i++) {
      channel.send(OK);
      expect((await receive(peer.fd)).bytes).toEqual(OK);
      says(FAIL);
      expect((await channel.receive("a test", 1000)).message.type).toBe("fail");
    }
    expect(isGone).toBe(false);
  });
});

describe("takePending()", () => {
  it("gives what is there already, and null when nothing is", () => {
    expect(channel.takePending()).toBeNull();
    says(FAIL);
    peer.close();
    expect(channel.takePending()?.message).toMatchObject({ type: "fail" });
    expect(() => channel.takePending()).toThrow("the other process ended");
  });
});
