/** Clients that take their time: each gets so much of it, and holds neither others nor the connection. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import type { DoorTimes } from "../../admin-api/door.ts";
import { eventually } from "../support/processes.ts";
import { serve } from "./serving.ts";
import { certificates, tcpDoor } from "./tcp.ts";

const TIMES: DoorTimes = { headersMs: 300, requestMs: 600, handshakeMs: 300, lookMs: 50 };
const MANY = 100;

/** Connections that are opened, say something, and then nothing more. */
async function stalled(where: { path: string } | { port: number }, said: string): Promise<Socket[]> {
  const sockets = Array.from({ length: MANY }, () => connect(where));
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()));
  await Promise.all(
    sockets.map(async (socket) => {
      await once(socket, "connect");
      socket.write(said);
    }),
  );
  return sockets;
}

test.each([
  ["its line", "GET /v1/status HT"],
  ["its headers", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-More: "],
  [
    "its body",
    "POST /v1/services/api/deploys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{",
  ],
])(
  "a client that does not finish %s gets 408 and is let go, and meanwhile others are answered",
  async (_, said) => {
    const { path, ask, door, log } = await serve({ times: TIMES });
    const sockets = await stalled({ path }, said);
    const answers = sockets.map((socket) => text(socket));
    expect((await ask("GET", "/v1/status")).status).toBe(200);
    for (const answer of await Promise.all(answers)) {
      expect(answer).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/u);
      expect(JSON.parse(answer.split("\r\n\r\n")[1] ?? "")).toMatchObject({
        status: 408,
        code: "REQUEST_INVALID",
      });
    }
    await eventually("every connection to be gone", () => connectionsOf(door.server).then((n) => n === 0));
    // Nothing was asked for: there is nothing to audit.
    expect(log.filter(({ msg }) => msg === "change requested")).toEqual([]);
  },
);

test("a TLS handshake that does not go on is ended, and meanwhile others shake hands and are answered", async () => {
  const { ca, ...tls } = await certificates();
  const { server } = await serve({ times: TIMES });
  let connections = (): Promise<number> => Promise.resolve(-1);
  const door = await tcpDoor(server, { kind: "tcp", isLoopback: true, tls }, (opened) => {
    connections = () => connectionsOf(opened.server);
  });
  // The first bytes of a ClientHello, which would have 512.
  const sockets = await stalled({ port: door.port }, "\x16\x03\x01\x02\x00\x01\x00");
  const ends = sockets.map((socket) => text(socket).catch(() => ""));
  expect((await door.ask("GET", "/v1/status", undefined, {}, { ca })).status).toBe(200);
  // No answer can be given where no cipher has been agreed on.
  expect(await Promise.all(ends)).toEqual(ends.map(() => ""));
  await eventually("every connection to be gone", async () => (await connections()) === 0);
});

function connectionsOf(server: {
  getConnections: (callback: (error: Error | null, count: number) => void) => void;
}): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}
