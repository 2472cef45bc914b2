/** The pool of slots: how it is opened, given away, grown, kept and closed. What each slot gets: tcp-steering.test.ts. */
import { describe, expect, it } from "vitest";
import { native, SO } from "../../handoff/native.ts";
import { slotName } from "../../handoff/listener.ts";
import { TcpListener } from "../../handoff/tcp-listener.ts";
import { expectTableUnchanged } from "./native-support.ts";
import {
  closeListeners,
  dial,
  openTcp,
  options,
  spreadOver,
  tcpAddress,
  theKeeper,
  tracked,
  whereOf,
} from "./listener-support.ts";
import { eventually } from "../support/processes.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";

expectTableUnchanged();
closeListeners();

/** Connections that wait on a slot; the caller closes them. */
async function waiting(listener: TcpListener, slot: number, count: number): Promise<Descriptor[]> {
  const clients = Array.from({ length: count }, () => dial(whereOf(listener)));
  await eventually("the queue", () => listener.slots[slot]?.queue.length === count);
  return clients;
}

function closeClients(clients: readonly Descriptor[]): void {
  for (const client of clients) client.close();
}

describe("a new listener", () => {
  it("has one idle slot, which has the weight: connections wait there and none is refused", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 0);
    expect(listener.slots.map(({ index, owner }) => ({ index, owner }))).toEqual([{ index: 0, owner: null }]);
    expect(listener.shares).toEqual([{ slot: 0, share: 1 }]);
    expect(listener.address).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
    const clients = await waiting(listener, 0, 20);
    expect(listener.slots[0]?.queue).toEqual({ length: 20, limit: 1024 });
    closeClients(clients);
  });

  it("shows nobody its proof: the queue is empty", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 2);
    expect(listener.slots.map(({ queue }) => queue.length)).toEqual([0, 0]);
  });

  it("shows its IPv6 address in brackets", async () => {
    expect((await openTcp("tcp:[::1]:0")).address).toMatch(/^\[::1\]:[1-9]\d*$/);
  });
});

describe("take()", () => {
  it("shows a slot that it opens with its owner from the first moment: nobody takes it for an idle one", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 1);
    const taken = listener.take("test/1");
    // It is there before anything of it has to be waited for: the keeper, the proof.
    while (listener.slots.length < 2) await Promise.resolve();
    expect(listener.slots[1]?.owner).toBe("test/1");
    await taken;
    expect(listener.slots[1]?.queue.length).toBe(0);
  });

  it("gives the lowest slot that nobody has, and opens one where there is none", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 4);
    expect(listener.slots.map(({ owner }) => owner)).toEqual(["test/0", "test/1", "test/2", "test/3"]);
    for (const index of [3, 1]) Object.assign(listener.slots[index] ?? {}, { owner: null });
    expect((await listener.take("test/4")).index).toBe(1);
    expect((await listener.take("test/5")).index).toBe(3);
    expect((await listener.take("test/6")).index).toBe(4);
    expect(listener.slots.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
  });

  it("gives nobody a slot that has weight, that other processes hold, or in which connections wait", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 4);
    const [weighted, held, queued] = listener.slots;
    listener.steer([{ slot: 2, share: 1 }]);
    const clients = await waiting(listener, 2, 1);
    listener.steer([{ slot: 0, share: 1 }]);
    for (const slot of [weighted, held, queued]) if (slot !== undefined) slot.owner = null;
    if (held !== undefined) held.holders = [{ pid: 1, command: "init" }];
    expect((await listener.take("test/5")).index).toBe(4);
    if (held !== undefined) held.holders = [];
    expect((await listener.take("test/6")).index).toBe(1);
    closeClients(clients);
  });

  it("gives two who ask at once two slots", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0");
    const slots = await Promise.all([1, 2, 3].map((n) => listener.take(`test/${n}`)));
    expect(slots.map(({ index, owner }) => `${index} ${owner ?? ""}`)).toEqual([
      "1 test/1",
      "2 test/2",
      "3 test/3",
    ]);
  });

  it("gives a slot without weight, with a mark that no slot had before", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 2);
    const before = listener.slots.map(({ mark }) => mark);
    Object.assign(listener.slots[1] ?? {}, { owner: null });
    const slot = await listener.take("test/2");
    expect(before).not.toContain(slot.mark);
    expect(slot.mark).toBe(native.getOption(slot.fd, SO.SOL_SOCKET, SO.SO_MARK));
    expect(spreadOver(listener, 200)).toEqual([200, 0]);
  });

  it("gives a slot as a fresh one would be, whatever its last owner set", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 2);
    const [, slot] = listener.slots;
    if (slot === undefined) throw new Error("no slot");
    native.listen(slot.fd, 511);
    native.setNonblocking(slot.fd, true);
    native.setOption(slot.fd, SO.IPPROTO_TCP, SO.TCP_DEFER_ACCEPT, 10);
    expect(slot.queue.limit).toBe(511);
    slot.owner = null;
    expect((await listener.take("test/2")).index).toBe(1);
    expect(slot.queue.limit).toBe(1024);
    expect(native.isNonblocking(slot.fd)).toBe(false);
    expect(native.getOption(slot.fd, SO.IPPROTO_TCP, SO.TCP_DEFER_ACCEPT)).toBe(0);
  });

  it("leaves a socket without marks where they are off", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 2, { nextMark: null });
    expect(listener.slots.map(({ mark }) => mark)).toEqual([0, 0]);
    expect(spreadOver(listener, 20)).toEqual([20, 0]);
  });
});

it("the backlog that an application has changed is put back, with everything that waits", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0");
  const clients = await waiting(listener, 0, 5);
  const [slot] = listener.slots;
  native.listen(slot?.fd ?? -1, 511);
  slot?.assertBacklog(listener.backlog);
  expect(slot?.queue).toEqual({ length: 5, limit: 1024 });
  closeClients(clients);
});

describe("the keeper", () => {
  it("has a slot before the program knows it", async () => {
    const keeper = theKeeper();
    const listener = await openTcp("tcp:127.0.0.1:0", 2);
    expect(keeper.asked).toEqual(["put slot/web/0", "put slot/web/1"]);
    keeper.before = () => {
      // The pin of the slot that is on its way leads nowhere yet: it gets what the weights say.
      const pinned = dial(whereOf(listener), { family: "inet", host: "127.77.0.3", port: 0 });
      pinned.close();
    };
    const slot = await listener.take("test/2");
    expect(listener.slots.map(({ queue }) => queue.length)).toEqual([1, 0, 0]);
    expect(keeper.held.get(slotName("web", 2))?.inode()).toBe(slot.inode);
  });

  it.each(["put", "remove"])("that fails at %s leaves the pool as it was", async (request) => {
    const listener = await openTcp("tcp:127.0.0.1:0", 2);
    const keeper = theKeeper();
    keeper.before = (asked) => {
      if (asked.startsWith("put")) throw new Error("no room");
      if (request === "remove") throw new Error("the keeper has died");
    };
    await expect(listener.take("test/2")).rejects.toThrow("no room");
    expect(listener.slots.map(({ owner }) => owner)).toEqual(["test/0", "test/1"]);
    expect(spreadOver(listener, 200)).toEqual([200, 0]);
    keeper.before = () => undefined;
    expect((await listener.take("test/3")).index).toBe(2);
    expect(spreadOver(listener, 200)).toEqual([200, 0, 0]);
  });

  it("that fails while a listener is opened leaves the address free", async () => {
    const { port } = tcpAddress((await openTcp("tcp:127.0.0.1:0")).address);
    const keeper = theKeeper();
    keeper.before = () => {
      throw new Error("no room");
    };
    await expect(openTcp("tcp:127.0.0.2:0")).rejects.toThrow("no room");
    keeper.before = () => undefined;
    await openTcp(`tcp:127.0.0.2:${port}`);
  });

  it("that is new gets every slot", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 3);
    const keeper = theKeeper();
    keeper.close();
    await listener.keep();
    expect([...keeper.held.keys()]).toEqual(["slot/web/0", "slot/web/1", "slot/web/2"]);
  });

  it("holds slots from which the next daemon goes on: same weights, same marks, same queues", async () => {
    const first = await openTcp("tcp:127.0.0.1:0", 3);
    first.steer([{ slot: 1, share: 1 }]);
    const clients = await waiting(first, 1, 5);
    const shares = [{ slot: 1, share: 1 }];
    const kept = await theKeeper().list();
    const second = tracked(
      TcpListener.resume(
        options("tcp:127.0.0.1:0"),
        [0, 1, 2].map((n) => kept.get(slotName("web", n)) as Descriptor),
        shares,
      ),
    );
    expect(second.address).toBe(first.address);
    expect(second.shares).toEqual(shares);
    for (const slot of second.slots) await second.prove(slot, () => false);
    expect(second.slots.map(({ queue }) => queue.length)).toEqual([0, 5 + 1, 0]); // The proof is queued behind.
    expect(second.slots.map(({ mark }) => mark)).toEqual(first.slots.map(({ mark }) => mark));
    expect(spreadOver(second, 20)).toEqual([0, 26, 0]);
    closeClients(clients);
  });
});

describe("close()", () => {
  it("tells how many connections were lost, and frees the address", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 3);
    const clients = await waiting(listener, 0, 7);
    expect(await listener.close()).toBe(7);
    expect(listener.slots).toEqual([]);
    expect(theKeeper().asked.at(-1)).toBe("remove slot/web/0 slot/web/1 slot/web/2");
    expect(theKeeper().held.size).toBe(0);
    closeClients(clients);
    await openTcp(`tcp:${listener.address}`);
  });

  it("closes the last slot first: no other moves into a gated slot's place meanwhile", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 3);
    const inodes = listener.slots.map(({ inode }) => inode);
    const closed: (number | undefined)[] = [];
    for (const slot of listener.slots) {
      const close = slot.close.bind(slot);
      slot.close = () => {
        closed.push(slot.inode);
        close();
      };
    }
    await listener.close();
    expect(closed).toEqual(inodes.reverse());
  });

  it("closes every slot when the keeper fails, and says that it did", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 2);
    theKeeper().before = () => {
      throw new Error("the keeper has died");
    };
    await expect(listener.close()).rejects.toThrow("the keeper has died");
    expect(listener.slots).toEqual([]);
  });
});
