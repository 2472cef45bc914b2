/** An index is proved, never assumed: what prove() sees when all is well, and when it is not. */
import { setImmediate } from "node:timers/promises";
import { readdirSync, readlinkSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native, SO, type InetAddress } from "../../handoff/native.ts";
import { TcpListener } from "../../handoff/tcp-listener.ts";
import { end, eventually, start, type Process } from "../support/processes.ts";
import { expectTableUnchanged } from "./native-support.ts";
import {
  acceptAll,
  closeListeners,
  dial,
  foreign,
  nextMark,
  openTcp,
  options,
  spread,
  tracked,
  whereOf,
} from "./listener-support.ts";
import type { Slot } from "../../handoff/slot.ts";

expectTableUnchanged();
closeListeners();

const strangers: Descriptor[] = [];
const children: Process[] = [];
afterEach(async () => {
  for (const stranger of strangers.splice(0)) stranger.close();
  for (const child of children.splice(0)) await end(child);
});

const MARKS = [
  { how: "by marks", marks: { nextMark } },
  { how: "without marks", marks: { nextMark: null } },
] as const;

const KINDS = ["tcp:127.0.0.1:0", "tcp:0.0.0.0:0", "tcp:[::1]:0", "tcp:[::]:0"] as const;

/** Accepts everything on a slot, as another process, and says nothing. */
async function acceptor(slot: Slot | Descriptor): Promise<Process> {
  const script =
    "require('net').createServer((s) => s.on('error', () => {}).resume()).listen({ fd: 3 }, () => console.log())";
  const child = start(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit", slot.fd] });
  children.push(child);
  await new Promise((resolve) => child.child.stdout?.once("data", resolve));
  return child;
}

function holds(pid: number): (inode: number) => boolean {
  const links = (): string[] =>
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return []; // Closed meanwhile.
      }
    });
  return (inode) => links().includes(`socket:[${inode}]`);
}

/** A group in the order of `listen`: "ours" by number, "-" a stranger's. The listener believes in the order of the numbers. */
function group(order: readonly (number | "-")[], marks: { nextMark: (() => number) | null }): TcpListener {
  let where: InetAddress = { family: "inet", host: "127.0.0.1", port: 0 };
  const ours: Descriptor[] = [];
  for (const one of order) {
    const descriptor = foreign(where);
    where = native.localAddress(descriptor.fd) as InetAddress;
    if (one === "-") strangers.push(descriptor);
    else ours[one] = descriptor;
    const mark = one === "-" ? null : (marks.nextMark?.() ?? null);
    if (mark !== null) native.setOption(descriptor.fd, SO.SOL_SOCKET, SO.SO_MARK, mark);
  }
  const resumed = TcpListener.resume(options("tcp:127.0.0.1:0", marks), ours, [{ slot: 0, share: 1 }]);
  resumed.steer(resumed.shares);
  return tracked(resumed);
}

async function proved(listener: TcpListener): Promise<string[]> {
  const said: string[] = [];
  for (const slot of listener.slots) {
    said.push(
      await listener.prove(slot).then(
        () => "proved",
        (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
      ),
    );
  }
  return said;
}

const NOT = "LISTENER_SLOT_NOT_PROVED";

describe.each(MARKS)("$how", ({ marks }) => {
  it.each(KINDS)(
    "every slot at %s is proved, again and again, and no connection is left in it",
    async (address) => {
      const listener = await openTcp(address, 4, marks);
      for (const slot of listener.slots) slot.owner = null;
      for (let round = 0; round < 10; round++) {
        expect(await proved(listener)).toEqual(["proved", "proved", "proved", "proved"]);
        expect(listener.slots.map(({ queue }) => queue.length)).toEqual([0, 0, 0, 0]);
      }
    },
  );

  it("slots whose order is another one than was written down are not proved", async () => {
    expect(await proved(group([0, 2, 1], marks))).toEqual(["proved", NOT, NOT]);
  });

  it("a stranger in front of a slot is noticed", async () => {
    expect(await proved(group([0, "-", 1], marks))).toEqual(["proved", NOT]);
  });

  it("a stranger that has left, so that the last slot took its place, is noticed", async () => {
    const listener = group([0, "-", 1, 2], marks);
    strangers.splice(0).forEach((stranger) => stranger.close());
    expect(await proved(listener)).toEqual(["proved", NOT, NOT]);
  });

  it("a slot whose generation accepts at once is proved by that generation", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 2, marks);
    const [first, second] = listener.slots as [Slot, Slot];
    const child = await acceptor(second);
    const isOwners = holds(child.pid);
    for (let round = 0; round < 100; round++) await listener.prove(second, isOwners);
    await listener.prove(first, isOwners);
  });

  it("a stranger in front of a slot, who accepts at once, is noticed too", async () => {
    const listener = group([0, "-", 1], marks);
    const [stranger] = strangers as [Descriptor];
    await acceptor(stranger);
    const child = await acceptor(listener.slots[1] as Slot);
    await expect(listener.prove(listener.slots[1] as Slot, holds(child.pid))).rejects.toMatchObject({
      code: NOT,
    });
  });

  it("a slot that somebody else empties does not hang the proof, nor one that is nobody's", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 2, marks);
    const second = listener.slots[1] as Slot;
    const child = await acceptor(second);
    native.setNonblocking(second.fd, false); // As an application with a blocking accept would leave it.
    second.owner = null;
    for (let round = 0; round < 100; round++) await listener.prove(second, holds(child.pid));
    expect(native.isNonblocking(second.fd)).toBe(false);
  });

  it("a proof takes no user's connection out of the queue", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 0, marks);
    const slot = listener.slots[0] as Slot;
    for (let round = 0; round < 100; round++) {
      const proving = listener.prove(slot);
      if (round % 2 === 0) await setImmediate();
      const user = dial(whereOf(listener));
      await proving;
      const { port } = native.localAddress(user.fd) as InetAddress;
      const ports = await eventually("the user's connection", () => {
        const found = acceptPorts(slot.fd);
        return found.length > 0 && found;
      });
      expect(ports).toContain(port);
      user.close();
    }
  });
});

/** The ports of the clients that wait, which are taken out of the queue. */
function acceptPorts(fd: number): number[] {
  const ports: number[] = [];
  native.setNonblocking(fd, true);
  for (let one; (one = native.accept(fd)) !== null;) {
    using accepted = new Descriptor(one);
    try {
      ports.push((native.remoteAddress(accepted.fd) as InetAddress).port);
    } catch {
      // The proof's own, which has been reset already.
    }
  }
  native.setNonblocking(fd, false);
  return ports;
}

it("a proof never waits in accept(2), also where somebody has emptied the queue a moment before", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 0);
  const slot = listener.slots[0] as Slot;
  expect(native.isNonblocking(slot.fd)).toBe(false);
  const waits: boolean[] = [];
  const accept = native.accept.bind(native);
  const spy = vi.spyOn(native, "accept").mockImplementation((fd) => {
    waits.push(!native.isNonblocking(fd));
    return waits.at(-1) === true ? null : accept(fd);
  });
  await listener.prove(slot);
  spy.mockRestore();
  expect([waits, native.isNonblocking(slot.fd)]).toEqual([[false], false]);
});

it("a slot that cannot be reached at all is not proved, and the reason is told", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  const slot = listener.slots[1] as Slot;
  listener.probe = () => ({ kind: "tcp", host: "127.0.0.1", port: 1, source: "127.77.0.2", sourcePorts: [] });
  await expect(listener.prove(slot)).rejects.toMatchObject({
    code: NOT,
    message: `slot 1 of ${listener.address} is not where the kernel should have put it (a pinned connection failed: connect ECONNREFUSED 127.0.0.1:1); no traffic was moved`,
  });
});

it("a stranger that joins while a slot is opened keeps it from being used, and the pool is as it was", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  const assertAlone = listener.assertAlone.bind(listener);
  listener.assertAlone = () => {
    assertAlone();
    strangers.push(foreign(whereOf(listener))); // The next moment.
  };
  await expect(listener.take("test/2")).rejects.toMatchObject({ code: NOT });
  expect(listener.slots.map(({ owner }) => owner)).toEqual(["test/0", "test/1"]);
  const [stranger] = strangers as [Descriptor];
  const fds = [...listener.slots.map(({ fd }) => fd), stranger.fd];
  acceptAll(fds); // The proof's own connection.
  expect(spread(fds, 200, () => dial(whereOf(listener)))).toEqual([200, 0, 0]);
});

it("pins that are otherwise off are honoured for a proof, and off again after it", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2, { alwaysPinned: false });
  expect(await proved(listener)).toEqual(["proved", "proved"]);
  const pinned = dial(whereOf(listener), { family: "inet", host: "127.77.0.2", port: 0 });
  await eventually("the connection", () => listener.slots[0]?.queue.length === 2); // Slot 0 has the weight.
  pinned.close();
});
