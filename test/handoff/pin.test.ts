import type { Socket } from "node:net";
import { expect, it } from "vitest";
import { connectPinned, serverSide } from "../../handoff/pin.ts";
import type { Slot } from "../../handoff/slot.ts";
import { expectTableUnchanged } from "./native-support.ts";
import { closeListeners, dial, foreign, openTcp, pinOf, whereOf } from "./listener-support.ts";
import { native, type InetAddress } from "../../handoff/native.ts";

expectTableUnchanged();
closeListeners();

it.each(["tcp:127.0.0.1:0", "tcp:[::1]:0", "tcp:[::]:0"])(
  "a pinned connection to %s is found on the server's side, until it ends",
  async (address) => {
    const listener = await openTcp(address, 2);
    const slot = listener.slots[1] as Slot;
    const client = await connectPinned(listener.probe(slot), 2_000);
    expect(serverSide(client)).toMatchObject({
      localPort: whereOf(listener).port,
      remotePort: client.localPort,
      inode: 0, // Nobody has accepted it.
      mark: slot.mark,
    });
    client.resetAndDestroy();
    expect(serverSide(client)).toBeNull();
  },
);

it("IPv6 pins that are in use are passed over, and when all are the reason is told", async () => {
  const listener = await openTcp("tcp:[::1]:0", 2);
  const target = listener.probe(listener.slots[1] as Slot);
  const others = [0, 1, 2].map((n) => {
    const { where, from } = pinOf(target, n);
    return dial(where, from);
  });
  const client = await connectPinned(target, 2_000);
  expect(client.localPort).toBe(pinOf(target, 3).from.port);
  for (let n = 4; n < 16; n++) {
    const { where, from } = pinOf(target, n);
    others.push(dial(where, from));
  }
  await expect(connectPinned(target, 2_000)).rejects.toMatchObject({ code: "EADDRINUSE" });
  client.resetAndDestroy();
  for (const other of others) other.close();
});

it("a connection that nobody answers ends at its deadline", async () => {
  // A full queue: the kernel drops what comes.
  using full = foreign({ family: "inet", host: "127.0.0.1", port: 0 }, false);
  const where = native.localAddress(full.fd) as InetAddress;
  native.listen(full.fd, 0);
  const first = dial(where);
  await expect(
    connectPinned(
      { kind: "tcp", host: where.host, port: where.port, source: "127.77.0.1", sourcePorts: [] },
      50,
    ),
  ).rejects.toMatchObject({ code: "HANDOFF_TIMEOUT" });
  first.close();
});

it("a refused connection is the error that it is", async () => {
  const free = foreign({ family: "inet", host: "127.0.0.1", port: 0 }, false);
  const { port } = native.localAddress(free.fd) as InetAddress;
  free.close();
  const attempt = (): Promise<Socket> =>
    connectPinned({ kind: "tcp", host: "127.0.0.1", port, source: "127.77.0.1", sourcePorts: [] }, 2_000);
  await expect(attempt()).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await expect(connectPinned({ kind: "unix", path: "/nowhere/app.sock" }, 2_000)).rejects.toMatchObject({
    code: "ENOENT",
  });
});
