/** Unix sockets that cannot be opened, and abstract names, which have one slot for all. */
import { linkSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native } from "../../handoff/native.ts";
import { AbstractListener } from "../../handoff/unix-listener.ts";
import { expectTableUnchanged } from "./native-support.ts";
import { acceptAll, closeListeners, options, theKeeper, tracked } from "./listener-support.ts";
import { dialUnix, openUnix, pathOf, spreadUnix, temporaryFolder } from "./unix-support.ts";

expectTableUnchanged();
closeListeners();

const folder = temporaryFolder();
let path = "";
beforeEach(() => {
  path = `${folder.path}/app.sock`;
});

function refusal(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => Promise.reject(new Error("it was opened")),
    (error: unknown) => error,
  );
}

describe("a path", () => {
  it("that a dead process has left is replaced", async () => {
    using dead = new Descriptor(native.socket("unix", "stream", false));
    native.bind(dead.fd, { family: "unix", path });
    native.listen(dead.fd, 1);
    dead.close();
    expect(lstatSync(path).isSocket()).toBe(true);
    expect(spreadUnix(await openUnix(path), 10)).toEqual([10]);
  });

  it("on which somebody listens is refused, and stays theirs", async () => {
    using living = new Descriptor(native.socket("unix", "stream", false));
    native.bind(living.fd, { family: "unix", path });
    native.listen(living.fd, 10);
    expect(await refusal(openUnix(path))).toMatchObject({
      code: "LISTENER_ADDRESS_IN_USE",
      message: `cannot listen on unix:${path}: it is already in use; end that process or choose another address`,
    });
    dialUnix(path).close();
    expect(acceptAll([living.fd])).toEqual([2]); // The other one has looked whether anybody listens.
  });

  it.each([
    ["a file", () => writeFileSync(path, "precious")],
    ["a folder", () => mkdirSync(path)],
    ["a link", () => symlinkSync("/dev/null", path)],
  ])("of %s is refused, and left alone", async (_, make) => {
    make();
    const before = lstatSync(path).ino;
    expect(await refusal(openUnix(path))).toMatchObject({
      code: "LISTENER_CANNOT_OPEN",
      message: `cannot listen on unix:${path}: something that is no socket has this path; move it away`,
    });
    expect(lstatSync(path).ino).toBe(before);
  });

  it("in a folder that is not there is refused with the way out", async () => {
    path = `${folder.path}/absent/app.sock`;
    expect(await refusal(openUnix(path))).toMatchObject({
      message: `cannot listen on unix:${folder.path}/absent/app.sock: the directory ${folder.path}/absent does not exist; create it first`,
    });
  });

  it("that is as long as may be has room for the slots' hidden names", async () => {
    path = `${folder.path}/${"x".repeat(99 - folder.path.length)}`;
    expect(spreadUnix(await openUnix(path), 10)).toEqual([10]);
  });

  it("is found although leftovers of an earlier daemon lie beside it", async () => {
    writeFileSync(`${folder.path}/.app.sock.0`, "");
    linkSync(`${folder.path}/.app.sock.0`, `${folder.path}/.app.sock.0.s`);
    writeFileSync(`${folder.path}/.app.sock.0.s.new`, "");
    expect(spreadUnix(await openUnix(path), 10)).toEqual([10]);
  });
});

describe("an abstract name", () => {
  const name = `handoffd-test-${process.pid}`;
  const to = `\0${name}`;
  const openNamed = async (): Promise<AbstractListener> =>
    tracked(await AbstractListener.open(options(`unix:@${name}`), name));

  it("has one slot, which every generation shares", async () => {
    const listener = await openNamed();
    const slots = [await listener.take("test/1"), await listener.take("test/2")];
    expect(slots[0]).toBe(slots[1]);
    expect([listener.mode, listener.address, slots[0]?.owner]).toEqual(["shared", `@${name}`, "test/2"]);
    expect(listener.shares).toEqual([{ slot: 0, share: 1 }]);
    expect(spreadUnix(listener, 10, to)).toEqual([10]);
    expect(spreadUnix(listener, 10, pathOf(listener, 0))).toEqual([10]);
  });

  it("leaves the blocking mode to those who share it, and puts the backlog back", async () => {
    const listener = await openNamed();
    const slot = await listener.take("test/1");
    native.setNonblocking(slot.fd, true);
    native.listen(slot.fd, 511);
    await listener.take("test/2");
    expect([native.isNonblocking(slot.fd), slot.queue.limit]).toEqual([true, 1024]);
  });

  it("that somebody has is refused", async () => {
    await openNamed();
    expect(await refusal(openNamed())).toMatchObject({
      code: "LISTENER_ADDRESS_IN_USE",
      message: `cannot listen on unix:@${name}: it is already in use; end that process or choose another address`,
    });
  });

  it("is free again when it cannot be kept, and when it is closed", async () => {
    theKeeper().before = () => {
      throw new Error("no room");
    };
    await expect(openNamed()).rejects.toThrow("no room");
    theKeeper().before = () => undefined;
    const listener = await openNamed();
    const client = dialUnix(to);
    expect(await listener.close()).toBe(1);
    client.close();
    const kept = new Descriptor(native.duplicate((await openNamed()).slots[0]?.fd ?? -1));
    const resumed = tracked(AbstractListener.resume(options(`unix:@${name}`), name, kept));
    expect(spreadUnix(resumed, 5, to)).toEqual([5]);
  });
});
