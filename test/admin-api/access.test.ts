import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

import { expect, test } from "vitest";

import { peerOf } from "../../admin-api/access.ts";
import { native } from "../../handoff/native.ts";
import { FakeOperations } from "./fake-operations.ts";
import { collecting, listeningOn, serve, temporaryDirectory } from "./serving.ts";
import { createServer } from "../../admin-api/server.ts";

test("who asked is read from the connection by the kernel, and becomes requestedBy", async () => {
  const { client, operations } = await serve({ peerOf });
  const uid = process.getuid?.() ?? -1;
  const user = native.lookupUser(uid)?.name;
  const name = user === undefined ? `uid ${uid}` : `${user} (uid ${uid})`;
  expect((await client.deploy("api")).requestedBy).toBe(name);
  expect(operations.callers).toEqual([
    {
      transport: "unix",
      pid: process.pid,
      uid,
      gid: process.getgid?.(),
      name,
      role: "admin",
      services: null,
    },
  ]);
});

test("closing the server closes its descriptor and leaves the socket's path where it is", async () => {
  const path = join(await temporaryDirectory(), "admin.sock");
  const descriptor = listeningOn(path);
  const server = createServer({ operations: new FakeOperations(), log: collecting([]), peerOf });
  await server.listenOn(descriptor);
  await server.close();
  expect(existsSync(path)).toBe(true);
  const error = await new Promise<NodeJS.ErrnoException>((resolve) => connect(path).once("error", resolve));
  expect(error.code).toBe("ECONNREFUSED");
});

test("a descriptor that does not listen is refused, and said so to the one who asked", async () => {
  const server = createServer({ operations: new FakeOperations(), log: collecting([]), peerOf });
  await expect(server.listenOn(9999)).rejects.toThrow();
  await server.close();
});
