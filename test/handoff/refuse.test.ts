/** The end of a listener: whoever comes is refused at once, whoever was there loses nothing. */
import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { beforeEach, describe, expect, it, test } from "vitest";
import type { Descriptor } from "../../handoff/descriptor.ts";
import type { Listener } from "../../handoff/listener.ts";
import { native, SO } from "../../handoff/native.ts";
import { refuseNew, refusesNew } from "../../handoff/refuse.ts";
import { AbstractListener } from "../../handoff/unix-listener.ts";
import { SilentClients } from "../support/net.ts";
import { eventually } from "../support/processes.ts";
import {
  acceptAll,
  closeListeners,
  dial,
  openTcp,
  options,
  theKeeper,
  tracked,
  whereOf,
} from "./listener-support.ts";
import { expectTableUnchanged } from "./native-support.ts";
import { dialUnix, openUnix, temporaryFolder } from "./unix-support.ts";

expectTableUnchanged();
closeListeners();

const folder = temporaryFolder();
let path = "";
beforeEach(() => {
  path = `${folder.path}/app.sock`;
});

const queued = ({ slots }: Listener): number[] => slots.map(({ queue }) => queue.length);

describe.each([
  ["IPv4", "tcp:127.0.0.1:0"],
  ["all IPv4 addresses", "tcp:0.0.0.0:0"],
  ["IPv6", "tcp:[::1]:0"],
  ["a dual-stack one", "tcp:[::]:0"],
])("a TCP listener on %s that refuses", (_, address) => {
  it("resets nobody: what is queued, in whichever slot, is accepted", async () => {
    const listener = await openTcp(address, 3);
    const clients: Descriptor[] = [];
    for (const slot of [0, 1, 2]) {
      listener.steer([{ slot, share: 1 }]);
      for (let n = 0; n < 20; n++) clients.push(dial(whereOf(listener)));
    }
    await eventually("the queues", () => queued(listener).every((length) => length === 20));
    expect(refusesNew(listener)).toBe(false);
    refuseNew(listener);
    expect(refusesNew(listener)).toBe(true);
    refuseNew(listener);
    for (let n = 0; n < 50; n++) expect(() => dial(whereOf(listener))).toThrow("ECONNREFUSED");
    expect(queued(listener)).toEqual([20, 20, 20]);
    expect(acceptAll(listener.slots.map(({ fd }) => fd))).toEqual([20, 20, 20]);
    for (const client of clients) client.close();
  });

  it("finishes handshakes that have begun", async () => {
    const listener = await openTcp(address, 1);
    const [slot] = listener.slots;
    if (slot === undefined) throw new Error("no slot");
    // The handshake ends with the first byte (tcp(7)).
    native.setOption(slot.fd, SO.IPPROTO_TCP, SO.TCP_DEFER_ACCEPT, 30);
    const { host, port } = whereOf(listener);
    using clients = await SilentClients.open(20, { host, port });
    await eventually("half-open handshakes", () => listener.halfOpen(slot).size === 20);
    refuseNew(listener);
    const answers = clients.speak();
    await eventually("the queue", () => slot.queue.length === 20);
    expect(acceptAll([slot.fd])).toEqual([20]);
    expect(await answers).toHaveLength(20);
  });
});

it("a refusing listener's address is free once it is closed", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", 2);
  const { port } = whereOf(listener);
  refuseNew(listener);
  expect(await listener.close()).toBe(0);
  expect(theKeeper().held.size).toBe(0);
  expect(whereOf(await openTcp(`tcp:127.0.0.1:${port}`)).port).toBe(port);
});

it("a unix listener that refuses has no path, and its queue stays", async () => {
  const listener = await openUnix(path, 2);
  const clients = Array.from({ length: 10 }, () => dialUnix(path));
  refuseNew(listener);
  expect([refusesNew(listener), existsSync(path)]).toEqual([true, false]);
  expect(() => dialUnix(path)).toThrow("ENOENT");
  expect(acceptAll(listener.slots.map(({ fd }) => fd))).toEqual([10, 0]);
  for (const client of clients) client.close();
});

it("a unix listener that refuses leaves what somebody else has put at its path", async () => {
  const listener = await openUnix(path, 1);
  rmSync(path);
  writeFileSync(path, "mine");
  refuseNew(listener);
  expect(existsSync(path)).toBe(true);
});

it("an abstract listener cannot refuse", async () => {
  const name = `handoffd-refuse-${process.pid}`;
  const listener = tracked(await AbstractListener.open(options(`unix:@${name}`), name));
  refuseNew(listener);
  expect(refusesNew(listener)).toBe(false);
  dialUnix(`\0${name}`).close();
});

describe("a live change", () => {
  test("of the backlog holds in every slot, in those to come, and loses nobody who waits", async () => {
    for (const listener of [await openTcp("tcp:127.0.0.1:0", 2), await openUnix(path, 2)]) {
      const clients = Array.from({ length: 10 }, () =>
        listener.protocol === "unix" ? dialUnix(path) : dial(whereOf(listener)),
      );
      await eventually("the queue", () => queued(listener)[0] === 10);
      listener.setBacklog(77);
      await listener.take("test/more");
      expect(listener.backlog).toBe(77);
      expect(listener.slots.map(({ queue }) => queue.limit)).toEqual([77, 77, 77]);
      listener.setBacklog(3);
      expect(queued(listener)).toEqual([10, 0, 0]);
      expect(acceptAll(listener.slots.map(({ fd }) => fd))).toEqual([10, 0, 0]);
      for (const client of clients) client.close();
    }
  });

  test("of a unix socket's mode holds whichever slot is public, and in those to come", async () => {
    const listener = await openUnix(path, 2, { mode: 0o600 });
    listener.setAccess(0o640, null);
    await listener.take("test/more");
    for (const slot of [0, 1, 2]) {
      listener.steer([{ slot, share: 1 }]);
      expect(statSync(path).mode & 0o777).toBe(0o640);
    }
    listener.setAccess(null, null);
    await openUnix(`${path}.fresh`);
    expect(statSync(path).mode).toBe(statSync(`${path}.fresh`).mode);
  });
});
