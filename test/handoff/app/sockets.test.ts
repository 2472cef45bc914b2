/** Raw sockets and web sockets go from one generation to the next while they speak, with their state and what was not read. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { NetAdapter } from "../../../handoff/app/net.ts";
import { hasEnded } from "../../../handoff/app/private.ts";
import { EchoClients } from "../../support/echo.ts";
import { Generations, type Generation } from "../../support/generations.ts";
import { eventually } from "../../support/processes.ts";
import { expectTableUnchanged } from "../native-support.ts";

expectTableUnchanged();
vi.setConfig({ testTimeout: 120_000 });

const DEADLINE_MS = 60_000;
const WANT = 8;

async function moveOften(
  generations: Generations,
  first: Generation,
  times: number,
  environment: Readonly<Record<string, string>>,
): Promise<Generation[]> {
  const old: Generation[] = [];
  let now = first;
  for (let count = 0; count < times; count += 1) {
    old.push(now);
    const next = await generations.replace(now, "echoes.mjs", { environment });
    expect(await now.exit()).toEqual({ code: 0, signal: null });
    now = next;
  }
  return old;
}

it.each(["net", "ws"] as const)(
  "%s: each connection goes on where it was, four times in a row, blocked and unread ones as well",
  async (mode) => {
    await using generations = Generations.open();
    const environment = { PROTOCOL: mode };
    const one = await generations.start("echoes.mjs", { environment }).ready();
    expect(one.kinds).toEqual(mode === "net" ? ["net/web"] : ["http/web", "ws/web"]);
    const clients = new EchoClients(mode, generations.port, 40, 4);
    await clients.started();
    const old = await moveOften(generations, one, 4, environment);
    const counts = await Promise.all(old.map((each) => each.counts()));
    expect(counts.map(({ given, returned, broken }) => [given, returned, broken])).toEqual(
      counts.map(() => [40, 0, 0]),
    );
    const report = await clients.stop();
    expect(report).toMatchObject({ connections: 40, closed: 0, corrupt: 0, codes: {} });
    expect(report.blocked).toBeGreaterThan(0);
    expect(old.flatMap(({ errors }) => errors)).toEqual([]);
  },
);

it("ws: one that compresses does not move, and is told 1012", async () => {
  await using generations = Generations.open();
  // The farewells are spread over a quarter of the time that there is.
  const environment = { PROTOCOL: "ws", COMPRESSES: "1", HANDOFF_DRAIN_TIMEOUT_MS: "20000" };
  const one = await generations.start("echoes.mjs", { environment }).ready();
  const clients = new EchoClients("ws", generations.port, 5, 0);
  await clients.started();
  await moveOften(generations, one, 1, environment);
  expect(await one.counts()).toMatchObject({ given: 0, returned: 0 });
  expect(await clients.stop()).toMatchObject({ closed: 5, corrupt: 0, codes: { 1012: 5 } });
});

it("net: where the application fails to say what is needed the connection stays, and that is said once", async () => {
  await using generations = Generations.open();
  const environment = { PROTOCOL: "net", SAVE_FAILS: "1" };
  const one = await generations.start("echoes.mjs", { environment }).ready();
  const clients = new EchoClients("net", generations.port, 3, 0);
  await clients.started();
  await generations.replace(one, "echoes.mjs", { environment });
  const said = "handoffd/app: connections stay here, since save() failed: the application's own";
  await eventually("the complaint", () => one.errors.length > 0, DEADLINE_MS);
  expect(await clients.stop()).toMatchObject({ closed: 0, corrupt: 0 });
  expect(await one.exit()).toEqual({ code: 0, signal: null });
  expect(one.errors).toEqual([said]);
});

it("net: who comes and takes no such connections is not asked for again and again", async () => {
  await using generations = Generations.open();
  // Such a connection stays until it can go: a web socket would be told to come back meanwhile.
  const options = { environment: { PROTOCOL: "net" } };
  const first = await generations.start("echoes.mjs", options).ready();
  const clients = new EchoClients("net", generations.port, 1, 0);
  await clients.started();
  const one = await generations.replace(first, "echoes.mjs", options);
  await first.exit();
  const two = await generations.replace(one, "moves.mjs");
  const wants = (): number => one.said.filter(({ type }) => type === WANT).length;
  const at: number[] = [];
  for (let count = 1; count <= 3; count += 1) {
    await eventually("WANT", () => wants() === count, DEADLINE_MS);
    at.push(performance.now());
    generations.route(one, two);
  }
  const [begun = 0, , ended = 0] = at;
  expect(ended - begun).toBeGreaterThan(1500);
  await clients.stop();
  await one.exit();
});

it("net: what has ended at the client's side, and was not read to its end, stays", async () => {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const adapter = new NetAdapter(
    server,
    "web",
    { save: () => new Uint8Array(1), restore: () => undefined },
    () => expect.unreachable(),
  );
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.end("unread");
  const [socket] = (await once(server, "connection")) as [Socket];
  // As an application that is busy: Node reads on to a high-water mark, and nobody takes it out.
  socket.on("readable", () => undefined);
  await eventually("its end", () => hasEnded(socket));
  adapter.drain({
    movable: () => true,
    wake: () => undefined,
    changed: () => undefined,
    remainingMs: () => 1e5,
  });
  expect(adapter.next()).toBeNull();
  expect(String(socket.read())).toBe("unread");
  socket.destroy();
  client.destroy();
  await once(server, "close");
});

it("ws: one whose handshake ends while the old generation drains goes on in the new one", async () => {
  await using generations = Generations.open();
  const environment = { PROTOCOL: "ws" };
  const one = await generations.start("echoes.mjs", { environment }).ready();
  const socket = connect(generations.port, "127.0.0.1");
  let text = "";
  socket.on("data", (data: Buffer) => (text += data.toString("latin1")));
  // Its first request is answered: it is the first generation's.
  socket.write("GET /first HTTP/1.1\r\nHost: x\r\n\r\n");
  await eventually("an answer", () => text.includes("404"), DEADLINE_MS);
  socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
  const two = await generations.replace(one, "echoes.mjs", { environment });
  await one.stopping();
  socket.write("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
  await eventually("the handshake", () => text.includes(" 101 "), DEADLINE_MS);
  expect(await one.exit()).toEqual({ code: 0, signal: null });
  two.process.kill("SIGUSR2");
  await eventually("the news of the new one", () => text.endsWith("\x81\x04news"), DEADLINE_MS);
  socket.destroy();
});

describe("ws: what the old generation says to one that is on its way", () => {
  /** A web socket that only listens, by hand: its bytes behind the handshake, as text. */
  async function listenTo(port: number): Promise<{ heard(): string; close(): void }> {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (data: Buffer) => (text += data.toString("latin1")));
    socket.on("error", () => undefined);
    socket.write(
      "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    await eventually("the handshake", () => text.includes("\r\n\r\n"), DEADLINE_MS);
    return { heard: () => text.slice(text.indexOf("\r\n\r\n") + 4), close: () => socket.destroy() };
  }
  const NEWS = "\x81\x04news";

  async function begin(generations: Generations): Promise<[Generation, Generation]> {
    const environment = { PROTOCOL: "ws" };
    const one = await generations.start("echoes.mjs", { environment }).ready();
    const two = generations.start("echoes.mjs", { environment });
    return [one, two];
  }

  it("comes from the new one, whole and once", async () => {
    await using generations = Generations.open();
    const [one, starting] = await begin(generations);
    starting.process.kill("SIGSTOP"); // The client's connection is the first one's.
    const client = await listenTo(generations.port);
    starting.process.kill("SIGCONT");
    const two = await starting.ready();
    generations.route(one, two);
    two.process.kill("SIGSTOP");
    one.process.kill("SIGTERM");
    await one.stopping();
    one.process.kill("SIGUSR2");
    await eventually("the old one's words", () => one.lines.includes("news"), DEADLINE_MS);
    expect(client.heard()).toBe("");
    two.process.kill("SIGCONT");
    await one.exit();
    await eventually("the news", () => client.heard() === NEWS, DEADLINE_MS);
    two.process.kill("SIGUSR2");
    await eventually("those of the new one", () => client.heard() === NEWS + NEWS, DEADLINE_MS);
    client.close();
  });

  it("comes from the old one itself, where the new one dies before it has taken it", async () => {
    await using generations = Generations.open();
    const [one, starting] = await begin(generations);
    starting.process.kill("SIGSTOP");
    const client = await listenTo(generations.port);
    starting.process.kill("SIGCONT");
    const two = await starting.ready();
    generations.route(one, two);
    two.process.kill("SIGSTOP");
    one.process.kill("SIGTERM");
    await one.stopping();
    one.process.kill("SIGUSR2");
    await eventually("the old one's words", () => one.lines.includes("news"), DEADLINE_MS);
    two.process.kill("SIGKILL");
    await eventually("the news", () => client.heard().startsWith(NEWS), DEADLINE_MS);
    client.close();
    await one.exit();
    expect(await one.counts()).toMatchObject({ given: 0, returned: 1 });
  });
});
