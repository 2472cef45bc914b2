/** What a client says of each way in which a server can lose a request. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";

import { expect, onTestFinished, test } from "vitest";

import { ask, type Asked, Connections } from "../../../cli/verify/ask.ts";

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FOREVER = new AbortController().signal;

/** Answers each request on a connection with what stands for it; the last one for all that follow. */
type Script = readonly ((socket: Socket) => void)[];

const say =
  (text: string) =>
  (socket: Socket): void =>
    void socket.write(text);
const end =
  (text: string) =>
  (socket: Socket): void =>
    void socket.end(text);
const reset = (socket: Socket): void => void socket.resetAndDestroy();
const nothing = (): void => undefined;

async function serve(script: Script): Promise<Server> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    let requests = 0;
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", () => (script[requests++] ?? script.at(-1))?.(socket));
  }).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await once(server, "listening");
  return server;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

async function asked(script: Script, { kept = true, times = 1, answerMs = 20_000 } = {}): Promise<Asked> {
  const where = { host: "127.0.0.1", port: portOf(await serve(script)) };
  const connections = new Connections(where, kept);
  try {
    let last = await ask(connections, "/", answerMs, FOREVER);
    for (let time = 1; time < times; time++) last = await ask(connections, "/", answerMs, FOREVER);
    return last;
  } finally {
    connections.destroy();
  }
}

test.each([
  ["answered, and kept", [say(ANSWER)], {}, { fate: "answered", status: 200, isKept: true }],
  [
    "answered on a connection that is not kept",
    [say(ANSWER)],
    { kept: false },
    { fate: "answered", isKept: false },
  ],
  [
    "answered with the last word on its connection",
    [say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")],
    {},
    { fate: "answered", status: 503, isKept: false },
  ],
  ["reset before any answer", [reset], {}, { fate: "reset", code: "ECONNRESET" }],
  ["closed before any answer", [end("")], {}, { fate: "reset" }],
  ["sent into a kept connection that is reset", [say(ANSWER), reset], { times: 2 }, { fate: "reuse" }],
  ["sent into a kept connection that is closed", [say(ANSWER), end("")], { times: 2 }, { fate: "reuse" }],
  ["answered in half", [end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")], {}, { fate: "cut" }],
  [
    "answered in chunks without the last",
    [end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")],
    {},
    { fate: "cut" },
  ],
  ["answered with no HTTP", [say("+PONG\r\n")], {}, { fate: "cut", status: null }],
  ["not answered", [nothing], { answerMs: 50 }, { fate: "unanswered", status: null }],
  [
    "answered in half, and then not on",
    [say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")],
    { answerMs: 3000 },
    { fate: "cut" },
  ],
] as const)("a request that is %s is told so", async (_title, script, options, expected) => {
  expect(await asked(script, options)).toMatchObject(expected);
});

test("a port that nobody listens on, and a path that is not there, refuse", async () => {
  const server = await serve([nothing]);
  const port = portOf(server);
  await new Promise((resolve) => server.close(resolve));
  const tcp = await ask(new Connections({ host: "127.0.0.1", port }, false), "/", 20_000, FOREVER);
  expect(tcp).toMatchObject({ fate: "refused", code: "ECONNREFUSED" });
  const unix = await ask(new Connections({ path: "/nowhere/at/all.sock" }, false), "/", 20_000, FOREVER);
  expect(unix).toMatchObject({ fate: "refused", code: "ENOENT" });
  const abstract = await ask(new Connections({ path: "\0nobody-at-all" }, false), "/", 20_000, FOREVER);
  expect(abstract).toMatchObject({ fate: "refused", code: "ECONNREFUSED" });
});

test("a client that gives up itself blames nobody", async () => {
  const server = await serve([nothing]);
  const abort = new AbortController();
  const connections = new Connections({ host: "127.0.0.1", port: portOf(server) }, true);
  const pending = ask(connections, "/", 20_000, abort.signal);
  await once(server, "connection");
  abort.abort();
  expect(await pending).toMatchObject({ fate: "abandoned" });
  connections.destroy();
});
