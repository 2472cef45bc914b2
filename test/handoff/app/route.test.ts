/** Both sides of a pair in one process, with files for connections: who owns what at each step, and what a death leaves to whom. */
import { openSync, readlinkSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Route, type Parcel } from "../../../handoff/app/route.ts";
import { Taker, type Arrived } from "../../../handoff/app/taker.ts";
import {
  BYTES_PER_FRAME,
  ITEMS_PER_FRAME,
  moveFrame,
  readPairFrame,
  takenFrame,
} from "../../../handoff/app/wire.ts";
import { Descriptor } from "../../../handoff/descriptor.ts";
import { encodeFrame, parseFrame, type Frame } from "../../../handoff/frame.ts";
import { native } from "../../../handoff/native.ts";
import { eventually } from "../../support/processes.ts";
import { expectTableUnchanged } from "../native-support.ts";

expectTableUnchanged();

const NOTHING = new Uint8Array(0);

let sender: Descriptor;
let taker: Descriptor;
let route: Route;
let ends: (string | null)[];
/** What became of each parcel: "taken", "back", or both in case of a bug. */
let fates: Record<string, string>;
let late: Uint8Array | null;
beforeEach(() => {
  const [a, b] = native.seqpacketPair();
  [sender, taker] = [new Descriptor(a), new Descriptor(b)];
  [ends, fates, late] = [[], {}, null];
  route = new Route(
    sender,
    ["http/web", "net/echo"],
    () => undefined,
    (_, why) => ends.push(why),
  );
});
afterEach(() => {
  route.close();
  taker.close();
});

function parcel(name: string, { kind = "http/web", state = NOTHING, unread = NOTHING } = {}): Parcel {
  const fd = openSync("/dev/null", "r");
  const settle = (fate: string): void => {
    fates[name] = `${fates[name] ?? ""}${fate}`;
    native.close(fd);
  };
  return {
    kind,
    fd,
    state,
    unread,
    taken: () => {
      settle("taken");
      return late;
    },
    back: () => settle("back"),
  };
}

const parcels = (count: number, prefix = ""): Parcel[] =>
  Array.from({ length: count }, (_, index) => parcel(`${prefix}${index}`));

/** What the taker's end finds next, its descriptors closed. */
function heard(): { message: ReturnType<typeof readPairFrame>; descriptors: number } | null {
  const buffer = new Uint8Array(256 * 1024);
  const received = native.receiveMessage(taker.fd, buffer, 253);
  if (received === null || received.length === 0) return null;
  for (const fd of received.descriptors) native.close(fd);
  const frame = parseFrame(buffer.subarray(0, received.length)) as Frame;
  return { message: readPairFrame(frame), descriptors: received.descriptors.length };
}

function answer(frame: Uint8Array): void {
  expect(native.sendMessage(taker.fd, frame, [])).toBe(true);
}
const all = (names: readonly string[], fate: string): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, fate]));

describe("a route", () => {
  it("keeps what was sent until the answer, which says of each whether it was taken", async () => {
    route.send(parcels(3));
    expect(heard()).toMatchObject({ message: { type: "move", sequence: 0, more: false }, descriptors: 3 });
    expect([fates, route.settled]).toEqual([{}, false]);
    answer(takenFrame(0, [1], false));
    await eventually("the answer", () => route.settled);
    expect(fates).toEqual({ 0: "taken", 1: "back", 2: "taken" });
    // Who has refused one of a kind is asked for none of it any more.
    expect([...route.kinds]).toEqual(["net/echo"]);
  });

  it("has room for as many as a frame holds until the first are answered", async () => {
    const quarter = ITEMS_PER_FRAME / 4;
    for (const [sent, name] of ["a", "b", "c", "d"].entries()) {
      expect(route.room).toBe((4 - sent) * quarter);
      route.send(parcels(quarter, name));
    }
    expect(route.room).toBe(0);
    answer(takenFrame(0, [], false));
    await eventually("room", () => route.room === quarter);
    for (const sequence of [1, 2, 3]) answer(takenFrame(sequence, [], false));
    await eventually("the other answers", () => route.settled);
    expect(new Set(Object.values(fates))).toEqual(new Set(["taken"]));
  });

  it("gives back what is not answered when the taker goes, and not what is", async () => {
    route.send(parcels(2, "a"));
    route.send(parcels(2, "b"));
    answer(takenFrame(0, [], false));
    // With the second frame unread in its queue: the kernel says ECONNRESET before it gives us the answer.
    expect(heard()).not.toBeNull();
    taker.close();
    await eventually("the end", () => ends.length > 0);
    expect(fates).toEqual({ ...all(["a0", "a1"], "taken"), ...all(["b0", "b1"], "back") });
    expect([route.open, ends]).toEqual([false, [null]]);
  });

  it("hears the answers first when it finds by sending that the taker has gone", () => {
    route.send(parcels(1, "a"));
    answer(takenFrame(0, [], false));
    taker.close();
    route.send(parcels(1, "b"));
    expect(fates).toEqual({ a0: "taken", b0: "back" });
    expect(ends).toEqual([null]);
  });

  it("that has ended gives back at once", () => {
    taker.close();
    route.send(parcels(1, "a"));
    route.send(parcels(1, "b"));
    expect(fates).toEqual({ a0: "back", b0: "back" });
  });

  it("sends a long one in pieces, each when there is room, with the descriptor in the last", async () => {
    const state = Uint8Array.from({ length: 5 * BYTES_PER_FRAME }, (_, index) => index % 251);
    route.send([parcel("long", { state, unread: Uint8Array.of(7) })]);
    const pieces: Uint8Array[] = [];
    let descriptors = 0;
    for (let more = true; more;) {
      const found = await eventually("the next piece", () => heard() ?? undefined);
      if (typeof found.message === "string" || found.message.type !== "move") throw new Error("no MOVE");
      expect(descriptors).toBe(0);
      descriptors += found.descriptors;
      more = found.message.more;
      pieces.push(...found.message.parts.map((part) => part.state));
      answer(takenFrame(0, [], more));
    }
    await eventually("the answer", () => route.settled);
    expect([fates, descriptors]).toEqual([{ long: "taken" }, 1]);
    expect(Buffer.concat(pieces).equals(state)).toBe(true);
  });

  it("sends what had to wait, and not what has its number by then", async () => {
    const state = new Uint8Array(BYTES_PER_FRAME);
    const sent = (name: string): Parcel => parcel(name, { state });
    const waiting = sent("c");
    route.send([sent("a")]);
    route.send([sent("b")]);
    route.send([waiting]);
    // The application has closed it, and opened something else.
    native.close(waiting.fd);
    expect(openSync("/etc/hostname", "r")).toBe(waiting.fd);
    const received: string[] = [];
    for (const sequence of [0, 1, 2]) {
      const message = await eventually("a MOVE", () => {
        const found = native.receiveMessage(taker.fd, new Uint8Array(64 * 1024), 253);
        return found ?? undefined;
      });
      for (const fd of message.descriptors) {
        received.push(readlinkSync(`/proc/self/fd/${fd}`));
        native.close(fd);
      }
      answer(takenFrame(sequence, [], false));
    }
    await eventually("the answers", () => route.settled);
    expect(received).toEqual(["/dev/null", "/dev/null", "/dev/null"]);
  });

  it("tries again when the kernel has no room and no answer is to come", async () => {
    // The socket's buffer is full of what is not ours.
    const filler = encodeFrame({ type: 99, flags: 0, fields: [{ key: 1, value: new Uint8Array(20_000) }] });
    while (native.sendMessage(sender.fd, filler, []));
    route.send(parcels(1));
    expect(route.settled).toBe(false);
    await eventually("the MOVE", () => {
      const found = heard();
      return found !== null && typeof found.message !== "string";
    });
    answer(takenFrame(0, [], false));
    await eventually("the answer", () => route.settled);
    expect(fates).toEqual({ 0: "taken" });
  });

  it.each<[string, () => void, string]>([
    ["an answer that nobody has asked for", () => answer(takenFrame(0, [], true)), "nobody has asked for"],
    ["something else than an answer", () => answer(moveFrame(0, [], false)), 'does not say "move"'],
    ["nonsense", () => answer(Uint8Array.of(1, 2, 3)), "shorter than its header"],
  ])("ends when it hears %s", async (_, say, why) => {
    say();
    await eventually("the end", () => ends.length > 0);
    expect(ends[0]).toContain(why);
  });

  it("ends at an answer to what was not sent, and gives back what was", async () => {
    route.send(parcels(1));
    answer(takenFrame(5, [], false));
    await eventually("the end", () => ends.length > 0);
    expect([ends[0], fates]).toEqual(["a TAKEN of what was not sent", { 0: "back" }]);
  });
});

describe("a taker", () => {
  let arrived: Arrived[];
  let written: [string, string][];
  let takes: Taker | null;
  let takerEnds: (string | null)[];
  beforeEach(() => {
    [arrived, written, takes, takerEnds] = [[], [], null, []];
  });
  afterEach(() => {
    takes?.close();
    for (const { fd } of arrived) native.close(fd);
  });
  function begin(): void {
    takes = new Taker(
      taker,
      {
        accepts: (kind) => kind.startsWith("http"),
        take: (some) => {
          arrived.push(...some);
          return some.map(
            ({ kind }) =>
              (bytes: Uint8Array) =>
                void written.push([kind, Buffer.from(bytes).toString()]),
          );
        },
      },
      (_, why) => takerEnds.push(why),
    );
  }

  it("takes what it can and refuses the rest, each with what came along", async () => {
    begin();
    const [state, unread] = [Uint8Array.of(1), Uint8Array.of(2, 3)];
    route.send([parcel("a", { state, unread }), parcel("b", { kind: "net/echo" }), parcel("c")]);
    await eventually("the answer", () => route.settled);
    expect(fates).toEqual({ a: "taken", b: "back", c: "taken" });
    expect(arrived).toMatchObject([
      { kind: "http/web", state, unread },
      { kind: "http/web", state: NOTHING, unread: NOTHING },
    ]);
  });

  it("lets its process do something else between two frames that are there", async () => {
    for (const name of ["a", "b", "c"]) route.send(parcels(2, name));
    begin();
    const seen = new Set<number>();
    while (!route.settled) {
      seen.add(arrived.length);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect([...seen]).toEqual([0, 2, 4, 6]);
  });

  it("puts a long one together, and gets what was written late to its place", async () => {
    begin();
    late = Buffer.from("late words".repeat(2 * BYTES_PER_FRAME));
    const state = Uint8Array.from({ length: 3 * BYTES_PER_FRAME + 5 }, (_, index) => index % 251);
    const unread = Uint8Array.from({ length: 2 * BYTES_PER_FRAME }, (_, index) => index % 13);
    route.send([parcel("long", { state, unread })]);
    await eventually("the late words", () => written.length === 1);
    expect(arrived).toHaveLength(1);
    expect(Buffer.from(arrived[0]?.state ?? []).equals(state)).toBe(true);
    expect(Buffer.from(arrived[0]?.unread ?? []).equals(unread)).toBe(true);
    // At once: the new side's own words would come between the pieces.
    expect(written.map(([kind, words]) => [kind, words.length])).toEqual([["http/web", late.length]]);
  });

  it("has what a dead sender has sent, although its answer reaches nobody", async () => {
    native.sendMessage(
      sender.fd,
      moveFrame(0, [{ kind: "http/web", state: NOTHING, unread: NOTHING }], false),
      [taker.fd],
    );
    route.close();
    begin();
    await eventually("the end of the route", () => takerEnds.length > 0);
    expect([arrived.length, takerEnds]).toEqual([1, [null]]);
  });

  it("takes nothing when its answers are not read: the sender goes on with it", () => {
    begin();
    const filler = takenFrame(
      0,
      Array.from({ length: 1000 }, () => 1),
      true,
    );
    while (native.sendMessage(taker.fd, filler, []));
    native.sendMessage(
      sender.fd,
      moveFrame(0, [{ kind: "http/web", state: NOTHING, unread: NOTHING }], false),
      [sender.fd],
    );
    // The route is deaf for as long as the test does not wait for it.
    takes?.hearAll();
    expect([takerEnds, arrived]).toEqual([["it does not read its answers"], []]);
  });

  const item = { kind: "http/web", state: NOTHING, unread: NOTHING };
  const rest = { kind: null, state: Uint8Array.of(1), unread: NOTHING };
  it.each<[string, readonly Uint8Array[], number, string]>([
    ["a descriptor too few", [moveFrame(0, [item, item], false)], 1, "2 connections with 1 descriptors"],
    ["a descriptor too many", [moveFrame(0, [item], false)], 2, "1 connections with 2 descriptors"],
    ["a part with a descriptor", [moveFrame(0, [item], true)], 1, "a frame that has none"],
    ["the rest of nothing", [moveFrame(0, [rest], false)], 0, "goes on with nothing"],
    [
      "the rest of another one",
      [moveFrame(0, [item], true), moveFrame(1, [rest], true)],
      0,
      "goes on with nothing",
    ],
    ["parts of two", [moveFrame(0, [item, item], true)], 0, "more than one"],
    ["an answer", [takenFrame(0, [], false)], 0, "does not answer"],
  ])("ends at %s and keeps no descriptor", async (_, frames, descriptors, why) => {
    begin();
    frames.forEach((frame, index) => {
      const last = index === frames.length - 1;
      native.sendMessage(sender.fd, frame, last ? Array.from({ length: descriptors }, () => sender.fd) : []);
    });
    await eventually("the end", () => takerEnds.length > 0);
    expect(takerEnds[0]).toContain(why);
    expect(arrived).toEqual([]);
  });
});
