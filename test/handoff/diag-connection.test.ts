import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { native, TCP, type DiagSocket } from "../../handoff/native.ts";
import { serverSide } from "../../handoff/pin.ts";

const open: { destroy?: () => void; close?: () => void }[] = [];

afterEach(() => {
  for (const thing of open.splice(0)) {
    thing.destroy?.();
    thing.close?.();
  }
});

async function listening(host: string): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => open.push(socket)).listen(0, host);
  open.push(server);
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port };
}

async function connected(host: string, port: number): Promise<Socket> {
  const socket = connect(port, host).on("error", () => undefined);
  open.push(socket);
  await once(socket, "connect");
  return socket;
}

/** What a dump of all connections says of the same one. */
function fromDump(client: Socket, port: number): DiagSocket | undefined {
  return (["inet", "inet6"] as const)
    .flatMap((each) => native.diagSockets(each, 1 << TCP.ESTABLISHED, port))
    .find(({ remotePort }) => remotePort === client.localPort);
}

describe("native.diagConnection", () => {
  it.each([
    ["127.0.0.1", "127.0.0.1"],
    ["::1", "::1"],
    ["::", "::1"],
    ["::", "127.0.0.1"],
  ])("finds what a dump finds, listening on %s and asked at %s", async (host, target) => {
    const { port } = await listening(host);
    const client = await connected(target, port);
    const seen = serverSide(client);
    expect(seen).toMatchObject({ state: TCP.ESTABLISHED, localPort: port, remotePort: client.localPort });
    expect({ ...seen, inode: 0 }).toEqual({ ...fromDump(client, port), inode: 0 });
  });

  it("says null, not the listener, where there is no such connection", async () => {
    const { port } = await listening("127.0.0.1");
    const local = { family: "inet", host: "127.0.0.1", port } as const;
    const nobody = { family: "inet", host: "127.9.9.9", port: 1 } as const;
    expect(native.diagConnection(local, nobody)).toBeNull();
    expect(native.diagConnection({ ...local, port: 1 }, nobody)).toBeNull();
  });

  it("refuses ends of two families, and what is no address", () => {
    const inet = { family: "inet", host: "127.0.0.1", port: 1 } as const;
    expect(() => native.diagConnection(inet, { family: "inet6", host: "::1", port: 1 })).toThrow("EINVAL");
    expect(() => native.diagConnection(inet, { ...inet, host: "localhost" })).toThrow("EINVAL");
  });
});
