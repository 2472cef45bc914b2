/** How connections leave for a process that has just started: few at first. Files stand for connections; the clock is the test's. */
import { openSync } from "node:fs";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Adapter } from "../../../handoff/app/adapter.ts";
import { Moves } from "../../../handoff/app/moves.ts";
import { RAMP_MS, Ramp, STEP_MS } from "../../../handoff/app/ramp.ts";
import { readPairFrame, takenFrame } from "../../../handoff/app/wire.ts";
import { encodeFrame, parseFrame, textField, u32Field, type Frame } from "../../../handoff/frame.ts";
import { native } from "../../../handoff/native.ts";
import { expectTableUnchanged } from "../native-support.ts";

expectTableUnchanged();
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

/** By docs/wire.md. */
const ROUTE = 7;
const KEY = { kind: 11, direction: 12 } as const;
const WHOLE = 16;

/** The shares that a ramp lets go at so many equal steps of its time, each with all that there is room for. */
function sharesOf(total: number, steps: number): number[] {
  let now = 0;
  const ramp = new Ramp(total, () => now);
  let left = 0;
  return Array.from({ length: steps + 1 }, (_, step) => {
    now = (step * RAMP_MS) / steps;
    const room = Math.min(total - left, ramp.room(WHOLE));
    ramp.leave(room);
    left += room;
    return left / total;
  });
}

it("lets the share that has left grow with the square of the time, and is over then", () => {
  expect(sharesOf(1600, 4).map((share) => Math.round(share * 16))).toEqual([0, 1, 4, 9, 16]);
});

it("lets the first go at once, and the last of a few in its time", () => {
  expect(sharesOf(2, 4)).toEqual([0.5, 0.5, 0.5, 0.5, 1]);
  expect(sharesOf(1, 1)).toEqual([1, 1]);
});

it("lets fewer than fill a frame go in steps", () => {
  let now = 0;
  const ramp = new Ramp(100, () => now);
  ramp.leave(1);
  now = RAMP_MS / 2;
  expect(ramp.room(WHOLE)).toBe(24);
  ramp.leave(20);
  expect(ramp.room(WHOLE)).toBe(0);
  now += STEP_MS;
  expect(ramp.room(WHOLE)).toBeGreaterThanOrEqual(4);
});

/** An adapter with nothing but files. */
class Files implements Adapter {
  readonly kind = "http/web";
  readonly listener = "web";
  readonly fates: string[] = [];
  left: number;
  #waiting: number;

  constructor(count: number) {
    [this.left, this.#waiting] = [count, count];
  }

  next() {
    if (this.#waiting === 0) return null;
    this.#waiting -= 1;
    const fd = openSync("/dev/null", "r");
    const settle = (fate: string): void => {
      this.left -= 1;
      this.fates.push(fate);
      native.close(fd);
    };
    const nothing = new Uint8Array(0);
    return {
      kind: this.kind,
      fd,
      state: nothing,
      unread: nothing,
      taken: () => {
        settle("taken");
        return null;
      },
      back: () => settle("back"),
    };
  }

  drain(): void {}
  retry(): void {}
  adopt(): never {
    throw new Error("none comes");
  }
  serve(): void {}
}

/** What the taker finds, each frame answered. */
function takeAll(taker: number): number[] {
  const counts: number[] = [];
  const buffer = new Uint8Array(256 * 1024);
  for (;;) {
    const received = native.receiveMessage(taker, buffer, 253);
    if (received === null) return counts;
    for (const fd of received.descriptors) native.close(fd);
    const message = readPairFrame(parseFrame(buffer.subarray(0, received.length)) as Frame);
    if (typeof message === "string" || message.type !== "move") throw new Error("a MOVE was expected");
    counts.push(received.descriptors.length);
    native.sendMessage(taker, takenFrame(message.sequence, [], false), []);
  }
}

const settled = (): Promise<void> =>
  new Promise((resolve) => setImmediate(() => setImmediate(() => resolve())));

it("is what connections leave by: at most a whole frame at a time, a quarter of all in half of the time, and then the rest", async () => {
  const [channel, daemon] = native.seqpacketPair();
  const [sender, taker] = native.seqpacketPair();
  const files = new Files(400);
  const complaints: string[] = [];
  const moves = new Moves(
    channel,
    null,
    [files],
    (what) => complaints.push(what),
    () => undefined,
  );
  const fields = [textField(KEY.kind, files.kind), u32Field(KEY.direction, 0)];
  native.sendMessage(daemon, encodeFrame({ type: ROUTE, flags: 0, fields }), [sender]);
  native.close(sender);
  moves.drain();
  const counts: number[] = [];
  for (let ms = 0; ms < RAMP_MS / 2; ms += 1) {
    await settled();
    counts.push(...takeAll(taker));
    await vi.advanceTimersByTimeAsync(1);
  }
  const early = counts.reduce((sum, each) => sum + each, 0);
  expect(early).toBeGreaterThan(60);
  expect(early).toBeLessThanOrEqual(100);
  await vi.advanceTimersByTimeAsync(RAMP_MS / 2 + 1);
  while (files.left > 0) {
    counts.push(...takeAll(taker));
    await settled();
  }
  expect(Math.max(...counts)).toBe(WHOLE);
  expect(counts.reduce((sum, each) => sum + each, 0)).toBe(400);
  expect(new Set(files.fates)).toEqual(new Set(["taken"]));
  expect(complaints).toEqual([]);
  moves.end();
  native.close(taker);
  native.close(daemon);
});
