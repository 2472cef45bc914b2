/** systemd's store as a keeper, in front of a NOTIFY_SOCKET that writes down what comes. A real systemd: test/systemd. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { FdStore, sortGiven } from "../../handoff/fdstore.ts";
import { native } from "../../handoff/native.ts";
import { Notifier, takeGiven } from "../../handoff/service-manager.ts";
import { eventually } from "../support/processes.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();

let folder = "";
let manager: Descriptor;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/fdstore-`);
  manager = new Descriptor(native.socket("unix", "dgram", true));
  native.bind(manager.fd, { family: "unix", path: `${folder}/notify` });
});
afterEach(() => {
  manager.close();
  rmSync(folder, { recursive: true });
});

const surroundings = (max = "4") => ({ NOTIFY_SOCKET: `${folder}/notify`, FDSTORE: max });

function storeOf(max?: string, held: readonly string[] = []): FdStore {
  const store = FdStore.find(surroundings(max), held);
  if (store === null) throw new Error("there is no store");
  return store;
}

/** The next message, with its descriptors closed unless it is kept for later. */
async function next(): Promise<{ text: string; inodes: number[]; answer: () => void }> {
  const buffer = new Uint8Array(4096);
  const received = await eventually(
    "a message",
    () => native.receiveMessage(manager.fd, buffer, 8) ?? undefined,
  );
  const own = received.descriptors.map((fd) => new Descriptor(fd));
  const inodes = own.map((one) => one.inode());
  const text = new TextDecoder().decode(buffer.subarray(0, received.length));
  const answer = (): void => own.forEach((one) => one.close());
  if (text !== "BARRIER=1") answer();
  return { text, inodes, answer };
}

/** Does what systemd does with everything up to the next barrier. */
async function untilBarrier(): Promise<string[]> {
  const texts: string[] = [];
  for (;;) {
    const { text, answer } = await next();
    texts.push(text);
    answer();
    if (text === "BARRIER=1") return texts;
  }
}

describe("a store", () => {
  it("holds a descriptor only when the manager has done what it was told", async () => {
    using one = new Descriptor(native.memfd("one"));
    const store = storeOf();
    let isDone = false;
    const put = store.put("slot/web/0", one.fd).then(() => (isDone = true));
    expect(await next()).toMatchObject({
      text: "FDSTORE=1\nFDPOLL=0\nFDNAME=handoffd/slot/web/0",
      inodes: [one.inode()],
    });
    const { text, answer } = await next();
    expect({ text, isDone }).toEqual({ text: "BARRIER=1", isDone: false });
    answer();
    await put;
    expect([...store.held]).toEqual(["slot/web/0"]);
  });

  it("lets go of a name before it is put again, and of nothing that it does not hold", async () => {
    using one = new Descriptor(native.memfd("one"));
    const store = storeOf("4", ["a"]);
    const put = store.put("a", one.fd);
    expect(await untilBarrier()).toEqual([
      "FDSTOREREMOVE=1\nFDNAME=handoffd/a",
      "FDSTORE=1\nFDPOLL=0\nFDNAME=handoffd/a",
      "BARRIER=1",
    ]);
    await put;
    const removed = store.remove(["b", "a"]);
    expect(await untilBarrier()).toEqual(["FDSTOREREMOVE=1\nFDNAME=handoffd/a", "BARRIER=1"]);
    await removed;
    expect([...store.held]).toEqual([]);
  });

  it("says that it is full instead of asking for what would be dropped in silence", async () => {
    using one = new Descriptor(native.memfd("one"));
    const store = storeOf("2", ["a", "b"]);
    await expect(store.put("c", one.fd)).rejects.toMatchObject({ code: "KEEPER_FULL" });
    expect(native.receiveMessage(manager.fd, new Uint8Array(64), 1)).toBeNull();
  });

  it("refuses a name that systemd would not take", () => {
    using one = new Descriptor(native.memfd("one"));
    const store = storeOf();
    for (const name of ["", "a:b", "a\nREADY=1", "é", "x".repeat(250)]) {
      expect(() => store.put(name, one.fd)).toThrow(expect.objectContaining({ code: "KEEPER_FAILED" }));
    }
  });

  it("is not there without a socket, or where the manager does not say how much it takes", () => {
    const { NOTIFY_SOCKET, FDSTORE } = surroundings();
    expect(FdStore.find({ FDSTORE }, [])).toBeNull();
    expect(FdStore.find({ NOTIFY_SOCKET }, [])).toBeNull();
    expect(FdStore.find({ NOTIFY_SOCKET, FDSTORE: "0" }, [])).toBeNull();
  });

  it("fails when there is nobody at the socket any more", async () => {
    using one = new Descriptor(native.memfd("one"));
    const store = storeOf();
    rmSync(`${folder}/notify`);
    await expect(store.put("a", one.fd)).rejects.toMatchObject({ code: "KEEPER_FAILED" });
  });
});

describe("the service manager", () => {
  it("that does not answer a barrier is not waited for without end", async () => {
    const notifier = Notifier.find(surroundings());
    await expect(notifier?.barrier(20)).rejects.toMatchObject({ code: "HANDOFF_TIMEOUT" });
    (await next()).answer();
  });

  it("has given nothing to a process that only inherited its words, and nobody inherits them further", () => {
    const environment = { LISTEN_PID: "1", LISTEN_FDS: "2", LISTEN_FDNAMES: "a:b", HOME: "/" };
    expect(takeGiven(environment, process.pid)).toEqual([]);
    expect(environment).toEqual({ HOME: "/" });
  });

  it("gives what was stored apart from sockets of units; of one name the later counts", () => {
    const [first, later, socket] = ["one", "two", "three"].map((name) => new Descriptor(native.memfd(name)));
    if (first === undefined || later === undefined || socket === undefined) throw new Error("unreachable");
    const { kept, sockets } = sortGiven([
      { name: "web", descriptor: socket },
      { name: "handoffd/slot/web/0", descriptor: first },
      { name: "handoffd/slot/web/0", descriptor: later },
    ]);
    expect([...kept]).toEqual([["slot/web/0", later]]);
    expect(sockets).toEqual([{ name: "web", descriptor: socket }]);
    expect(first.open).toBe(false);
    for (const one of [later, socket]) one.close();
  });
});
