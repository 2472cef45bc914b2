/** Addresses that cannot be opened: what is said, and that nobody else loses a connection by the attempt. */
import { afterEach, describe, expect, it } from "vitest";
import { CodedError } from "../../handoff/coded-error.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";
import { native, type InetAddress } from "../../handoff/native.ts";
import { expectTableUnchanged } from "./native-support.ts";
import { closeListeners, dial, foreign, openTcp, spread, spreadOver, whereOf } from "./listener-support.ts";

expectTableUnchanged();
closeListeners();

const strangers: Descriptor[] = [];
afterEach(() => {
  for (const stranger of strangers.splice(0)) stranger.close();
});

function stranger(where: InetAddress, reuse = true): { descriptor: Descriptor; where: InetAddress } {
  const descriptor = foreign(where, reuse);
  strangers.push(descriptor);
  const local = native.localAddress(descriptor.fd);
  if (local.family === "unix") throw new Error("a unix socket");
  return { descriptor, where: local };
}

async function refusal(promise: Promise<unknown>): Promise<CodedError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
  throw new Error("it was opened");
}

const loopback: InetAddress = { family: "inet", host: "127.0.0.1", port: 0 };
const holderOf = (inode: number): string => `a stranger with socket ${inode}`;

describe("an address that somebody else has", () => {
  it("is refused, and the holder named", async () => {
    const { descriptor, where } = stranger(loopback, false);
    const error = await refusal(openTcp(`tcp:127.0.0.1:${where.port}`, 1, { holderOf }));
    expect(error.code).toBe("LISTENER_ADDRESS_IN_USE");
    expect(error.message).toBe(
      `cannot listen on 127.0.0.1:${where.port}: it is already in use by a stranger with socket ${descriptor.inode()}; end that process or choose another address`,
    );
  });

  it("is refused without a name where the holder cannot be found", async () => {
    const { where } = stranger(loopback, false);
    const { message } = await refusal(openTcp(`tcp:0.0.0.0:${where.port}`));
    expect(message).toBe(
      `cannot listen on 0.0.0.0:${where.port}: it is already in use; end that process or choose another address`,
    );
  });

  it("is refused where SO_REUSEPORT would let us in, and no connection is taken from the holder", async () => {
    const { descriptor, where } = stranger(loopback);
    let taken = 0;
    for (let attempt = 0; attempt < 20; attempt++) {
      const opening = refusal(openTcp(`tcp:127.0.0.1:${where.port}`, 1, { holderOf }));
      taken += spread([descriptor.fd], 20, () => dial(where))[0] ?? 0;
      expect((await opening).code).toBe("LISTENER_ADDRESS_IN_USE");
    }
    expect(taken).toBe(400);
  });

  it.each([
    ["a wildcard's part", "0.0.0.0", "127.0.0.1"],
    ["a wildcard over it", "127.0.0.1", "0.0.0.0"],
    ["an IPv6 wildcard's part", "::", "::1"],
  ])("is refused as well where it is %s: one of the two would lose connections", async (_, theirs, ours) => {
    const family = theirs.includes(":") ? "inet6" : "inet";
    const { descriptor, where } = stranger({ family, host: theirs, port: 0 });
    const shown = family === "inet" ? ours : `[${ours}]`;
    expect((await refusal(openTcp(`tcp:${shown}:${where.port}`))).code).toBe("LISTENER_ADDRESS_IN_USE");
    const local = { ...where, host: family === "inet" ? "127.0.0.1" : "::1" };
    expect(spread([descriptor.fd], 20, () => dial(local))).toEqual([20]);
  });

  it("on the same port but another address of the host does not matter", async () => {
    const { where } = stranger({ ...loopback, host: "127.0.0.2" });
    const listener = await openTcp(`tcp:127.0.0.1:${where.port}`);
    expect(spreadOver(listener, 20)).toEqual([20]);
  });
});

it("an address that this host does not have is refused with the way out", async () => {
  const { code, message } = await refusal(openTcp("tcp:192.0.2.1:0"));
  expect(code).toBe("LISTENER_CANNOT_OPEN");
  expect(message).toBe(
    "cannot listen on 192.0.2.1:0: this host has no such address; use one of its own, or 0.0.0.0 for all",
  );
});

it("a port below 1024 is refused to an unprivileged user with the way out", async () => {
  process.seteuid?.(65534);
  let opening;
  try {
    opening = refusal(openTcp("tcp:127.0.0.1:81", 1, { nextMark: null })); // It binds before it waits for anything.
  } finally {
    process.seteuid?.(0);
  }
  const { code, message } = await opening;
  expect(code).toBe("LISTENER_CANNOT_OPEN");
  expect(message).toBe(
    "cannot listen on 127.0.0.1:81: ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= in a unit) or a higher port",
  );
});

describe("a stranger in the group of an open listener", () => {
  it("is named, and nothing is opened beside it", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0", 1, { holderOf });
    const { descriptor } = stranger(whereOf(listener));
    const said = `a stranger with socket ${descriptor.inode()} listens on ${listener.address} as well`;
    expect(() => listener.assertAlone()).toThrow(said);
    const error = await refusal(listener.take("test/1"));
    expect([error.code, error.message.startsWith(said)]).toEqual(["LISTENER_FOREIGN_MEMBER", true]);
    expect(listener.slots).toHaveLength(1);
  });

  it("is told by its uid where its process cannot be found", async () => {
    const listener = await openTcp("tcp:[::1]:0");
    stranger(whereOf(listener));
    expect(() => listener.assertAlone()).toThrow("a process of uid 0 listens on [::1]:");
  });

  it("is no longer in the way when it has gone", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0");
    const { descriptor } = stranger(whereOf(listener));
    expect(() => listener.assertAlone()).toThrow();
    descriptor.close();
    expect((await listener.take("test/1")).index).toBe(1);
  });

  it("is none when it listens on another address of the same port", async () => {
    const listener = await openTcp("tcp:127.0.0.1:0");
    stranger({ ...whereOf(listener), host: "127.0.0.2" });
    expect(() => listener.assertAlone()).not.toThrow();
  });
});
