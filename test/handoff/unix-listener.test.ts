/** Unix sockets with a path: renamed from slot to slot. What cannot be opened, and abstract names: unix-open.test.ts. */
import { setImmediate } from "node:timers/promises";
import { readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { beforeEach, expect, it } from "vitest";
import type { Descriptor } from "../../handoff/descriptor.ts";
import { slotName } from "../../handoff/listener.ts";
import { native } from "../../handoff/native.ts";
import { parseNetworks } from "../../handoff/network.ts";
import { AbstractListener, queuesOfMany, UnixListener } from "../../handoff/unix-listener.ts";
import { lost, startLoad } from "../support/load.ts";
import { expectTableUnchanged } from "./native-support.ts";
import {
  acceptAll,
  closeListeners,
  closeServers,
  options,
  serve,
  theKeeper,
  tracked,
} from "./listener-support.ts";
import { dialUnix, openUnix, pathOf, spreadUnix, temporaryFolder } from "./unix-support.ts";

expectTableUnchanged();
closeListeners();

const folder = temporaryFolder();
let path = "";
beforeEach(() => {
  path = `${folder.path}/app.sock`;
});

it("a listener with a path gives everything to the slot with the weight, and nothing to the others", async () => {
  const listener = await openUnix(path, 3);
  expect(listener.mode).toBe("renamed");
  for (const slot of [0, 2, 1, 1, 0]) {
    listener.steer([{ slot, share: 1 }]);
    expect(listener.shares).toEqual([{ slot, share: 1 }]);
    expect(spreadUnix(listener, 50)).toEqual([0, 1, 2].map((each) => (each === slot ? 50 : 0)));
  }
});

it("the queues of many slots are read together, and are those that each slot says", async () => {
  const few = await openUnix(path, 15);
  expect(queuesOfMany([few])).toBeNull();
  const more = await openUnix(`${folder.path}/other.sock`, 2);
  more.steer([{ slot: 1, share: 1 }]);
  const clients = Array.from({ length: 3 }, () => dialUnix(more.address));
  const queues = queuesOfMany([few, more]);
  const slots = [...few.slots, ...more.slots];
  expect(slots.map(({ inode }) => queues?.get(inode))).toEqual(slots.map(({ queue }) => queue));
  expect(more.slots.map(({ inode }) => queues?.get(inode)?.length)).toEqual([0, 3]);
  for (const client of clients) client.close();
});

it("a listener with a path is moved 1,000 times under load, and no connection fails", async () => {
  const listener = await openUnix(path, 2);
  const servers = await Promise.all([0, 1].map((slot) => serve(listener, slot)));
  const load = startLoad({ target: `unix:${path}`, mode: "new", connections: 8 });
  await load.started;
  for (let change = 0; change < 1000; change++) {
    listener.steer([{ slot: change % 2, share: 1 }]);
    await setImmediate();
  }
  await Promise.all([0, 1].map((generation) => load.sawGeneration(generation)));
  const report = await load.stop();
  expect(lost(report)).toEqual({ refused: 0, reset: 0, cut: 0, late: 0 });
  expect(report.ok).toBeGreaterThan(100);
  await closeServers(servers);
});

it("a listener with a path has a path for each slot, which reaches it whatever the weights", async () => {
  const listener = await openUnix(path, 3);
  for (const slot of [0, 1, 2]) {
    expect(spreadUnix(listener, 20, pathOf(listener, slot))).toEqual(
      [0, 1, 2].map((each) => (each === slot ? 20 : 0)),
    );
  }
});

it("a listener with a path goes on when an application unlinks the path that its socket was bound to", async () => {
  const listener = await openUnix(path, 2);
  for (const slot of listener.slots) {
    const bound = native.localAddress(slot.fd);
    if (bound.family === "unix") rmSync(bound.path);
  }
  for (const slot of [1, 0, 1]) {
    listener.steer([{ slot, share: 1 }]);
    expect(spreadUnix(listener, 10)[slot]).toBe(10);
    expect(spreadUnix(listener, 10, pathOf(listener, slot))[slot]).toBe(10);
  }
});

it("a listener with a path leaves no other names than its slots' and its own, also when it stays where it is", async () => {
  const listener = await openUnix(path, 2);
  for (const slot of [1, 1, 0, 0]) listener.steer([{ slot, share: 1 }]);
  expect(readdirSync(folder.path).sort()).toEqual([
    ".app.sock.0",
    ".app.sock.0.s",
    ".app.sock.1",
    ".app.sock.1.s",
    "app.sock",
  ]);
});

it("a listener with a path comes back when somebody has removed the public path", async () => {
  const listener = await openUnix(path, 2);
  rmSync(path);
  listener.steer([{ slot: 1, share: 1 }]);
  expect(spreadUnix(listener, 10)).toEqual([0, 10]);
});

it("a listener with a path has a mode and a group, and every slot has them", async () => {
  const listener = await openUnix(path, 3, { mode: 0o660, gid: 65534 });
  for (const slot of [0, 1, 2]) {
    listener.steer([{ slot, share: 1 }]);
    const { mode, gid } = statSync(path);
    expect([mode & 0o777, gid]).toEqual([0o660, 65534]);
  }
});

it("what somebody has put in a socket's place is not given the socket's mode and group", async () => {
  const listener = await openUnix(path, 2);
  const other = `${folder.path}/other`;
  writeFileSync(other, "", { mode: 0o600 });
  const before = statSync(other);
  rmSync(pathOf(listener, 0));
  symlinkSync(other, pathOf(listener, 0));
  listener.setAccess(0o666, 65534);
  expect(statSync(other)).toMatchObject({ mode: before.mode, gid: before.gid });
  const { mode, gid } = statSync(pathOf(listener, 1));
  expect([mode & 0o777, gid]).toEqual([0o666, 65534]);
  expect(statSync(path).mode & 0o777).toBe(0o666);
});

it("a listener with a path knows each slot's queue, and keeps it through a move", async () => {
  const listener = await openUnix(path, 2, { backlog: 100 });
  const clients = Array.from({ length: 7 }, () => dialUnix(path));
  listener.steer([{ slot: 1, share: 1 }]);
  expect(listener.slots.map(({ queue }) => queue)).toEqual([
    { length: 7, limit: 100 },
    { length: 0, limit: 100 },
  ]);
  expect(acceptAll(listener.slots.map(({ fd }) => fd))).toEqual([7, 0]);
  for (const client of clients) client.close();
});

it("a listener with a path asserts the backlog and the blocking mode of a slot that is given away again", async () => {
  const listener = await openUnix(path, 2);
  const [, slot] = listener.slots;
  native.listen(slot?.fd ?? -1, 511);
  native.setNonblocking(slot?.fd ?? -1, true);
  if (slot !== undefined) slot.owner = null;
  expect(await listener.take("test/2")).toBe(slot);
  expect([slot?.queue.limit, native.isNonblocking(slot?.fd ?? -1)]).toEqual([1024, false]);
});

it("a listener with a path gives two who ask at once two slots", async () => {
  const listener = await openUnix(path, 1);
  const slots = await Promise.all([1, 2, 3].map((n) => listener.take(`test/${n}`)));
  expect(slots.map(({ index }) => index)).toEqual([1, 2, 3]);
  expect(new Set([0, 1, 2, 3].map((slot) => statSync(pathOf(listener, slot)).ino)).size).toBe(4);
});

it("a listener with a path goes on from slots that were kept", async () => {
  const first = await openUnix(path, 2);
  first.steer([{ slot: 1, share: 1 }]);
  const kept = await theKeeper().list();
  const slots = [0, 1].map((n) => kept.get(slotName("web", n)) as Descriptor);
  const second = tracked(UnixListener.resume(options(`unix:${path}`), path, slots, first.shares));
  expect(spreadUnix(second, 10)).toEqual([0, 10]);
  second.steer([{ slot: 0, share: 1 }]);
  expect(spreadUnix(second, 10)).toEqual([10, 0]);
  expect((await second.take("test/2")).index).toBe(0 + 1); // The other one has the weight.
});

it("a listener with a path leaves the pool and the folder as they were when the keeper fails", async () => {
  const listener = await openUnix(path, 1);
  const before = readdirSync(folder.path);
  theKeeper().before = () => {
    throw new Error("no room");
  };
  await expect(listener.take("test/1")).rejects.toThrow("no room");
  expect(listener.slots).toHaveLength(1);
  expect(readdirSync(folder.path)).toEqual(before);
  theKeeper().before = () => undefined;
  expect((await listener.take("test/1")).index).toBe(1);
});

it("a listener with a path leaves nothing when it cannot be opened, and nothing when it is closed", async () => {
  theKeeper().before = () => {
    throw new Error("no room");
  };
  await expect(openUnix(path)).rejects.toThrow("no room");
  expect(readdirSync(folder.path)).toEqual([]);
  theKeeper().before = () => undefined;
  const listener = await openUnix(path, 3);
  const client = dialUnix(path);
  expect(await listener.close()).toBe(1);
  expect(readdirSync(folder.path)).toEqual([]);
  expect(theKeeper().held.size).toBe(0);
  client.close();
});

it("a listener with a path is a bug with a weight between 0 and 1, and stays where it is", async () => {
  const listener = await openUnix(path, 2);
  const halves = [0, 1].map((slot) => ({ slot, share: 0.5 }));
  expect(() => listener.steer(halves)).toThrow("one slot at weight 1");
  expect(spreadUnix(listener, 10)).toEqual([10, 0]);
});

it("a unix listener cannot tell clients apart, nor a shared one generations, and says so before it changes anything", async () => {
  const listener = await openUnix(path, 2);
  const guests = { slot: 1, networks: parseNetworks(["10.0.0.0/8"]) };
  const whole = [{ slot: 1, share: 1 }];
  const shared = tracked(await AbstractListener.open(options("unix:@steering"), `steering-${process.pid}`));
  for (const each of [listener, shared]) {
    expect(() => each.steer(whole, { guests })).toThrow("cannot tell clients apart");
    expect(() => each.steer(whole, { sticky: 1 })).toThrow("cannot tell clients apart");
    expect(each.steering).toEqual({ shares: [{ slot: 0, share: 1 }], sticky: null, guests: null });
  }
  expect(() => shared.steer([0, 1].map((slot) => ({ slot, share: 0.5 })))).toThrow("has no weights");
  expect(spreadUnix(listener, 10)).toEqual([10, 0]);
  listener.steer(whole, { sticky: null, guests: null });
  expect(listener.steering.shares).toEqual(whole);
});

it("the backlog of a unix listener changes while it lives, also for slots that come later", async () => {
  const listener = await openUnix(path, 2, { backlog: 64 });
  const shared = tracked(
    await AbstractListener.open(options("unix:@backlog", { backlog: 64 }), `backlog-${process.pid}`),
  );
  for (const each of [listener, shared]) {
    expect(each.slots.map(({ queue }) => queue.limit)).toEqual(each.slots.map(() => 64));
    each.setBacklog(9);
    await each.take("test/next");
    expect(each.backlog).toBe(9);
    expect(each.slots.map(({ queue }) => queue.limit)).toEqual(each.slots.map(() => 9));
  }
  expect(listener.slots).toHaveLength(3);
});
