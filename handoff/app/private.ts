/**
 * The parts of Node that have no public name and without which no connection moves: all of them are here, and `whyNothingMoves` tries
 * them on a connection of its own before anybody relies on them.
 *
 * When is a connection of an HTTP server idle? Its parser is between two messages (ConnectionsList of src/node_http_parser.cc), or
 * nothing was ever read, and no response is pending. Asking the parser alone is not enough: it calls itself idle while a
 * response is still to come.
 */
import { connect, Socket, type Server } from "node:net";
import { createServer, type ServerResponse } from "node:http";
import { messageOf } from "../coded-error.ts";
import { addonProblem, native } from "../native.ts";

interface Handle {
  readonly fd: number;
  /** As net.Socket believes it: one that does not read is started by the next read(). */
  readonly reading?: boolean;
  readStart(): number;
  readStop(): number;
}

/** HTTPParser of src/node_http_parser.cc, with what lib/_http_server.js has put on it. */
interface Parser {
  readonly socket?: Socket | null;
  onIncoming: unknown;
  incoming: unknown;
  execute(bytes: Uint8Array): unknown;
}

interface PrivateSocket {
  readonly _handle: Handle | null;
  /** The response that is pending. */
  readonly _httpMessage?: ServerResponse | null;
  readonly parser?: Parser | null;
  readonly _readableState?: { readonly ended?: boolean };
  server?: Server;
  _server?: Server;
}

function insideOf(socket: Socket): PrivateSocket {
  return socket as unknown as PrivateSocket;
}

/** null: it is closed. */
export function descriptorOf(socket: Socket): number | null {
  return insideOf(socket)._handle?.fd ?? null;
}

/** The kernel keeps what comes from here on. */
export function stopReading(socket: Socket): void {
  insideOf(socket)._handle?.readStop();
}

/** After `stopReading`: as before it. Starting what net.Socket will start itself would be EALREADY then, and its end. */
export function startReading(socket: Socket): void {
  const { _handle: handle } = insideOf(socket);
  if (handle !== null && handle.reading !== false) handle.readStart();
}

/** Whether its client has said that it will say no more, also where the application has not read that far. */
export function hasEnded(socket: Socket): boolean {
  return insideOf(socket)._readableState?.ended !== false;
}

export function pendingResponse(socket: Socket): ServerResponse | null {
  return insideOf(socket)._httpMessage ?? null;
}

interface ConnectionsList {
  all(): Parser[];
  idle(): Parser[];
}

function connectionsListOf(server: Server): ConnectionsList {
  const name = Object.getOwnPropertySymbols(server).find(({ description }) => description === CONNECTIONS);
  const { [name ?? ""]: connections } = server as unknown as Record<symbol | "", ConnectionsList | undefined>;
  if (connections === undefined) throw new Error("a server does not know its connections");
  return connections;
}

/** The parsers of the server that are between two messages. True for as long as nothing is read: in this turn of the loop. */
export function idleParsers(server: Server): ReadonlySet<unknown> {
  return new Set(connectionsListOf(server).idle());
}

/** Of an HTTP server, those that speak HTTP. */
export function connectionsOf(server: Server): Socket[] {
  return connectionsListOf(server)
    .all()
    .flatMap(({ socket }) => socket ?? []);
}

/** All that a server has accepted, or has been given by `adopt`, and that are not closed. */
export function connectionCount(server: Server): number | undefined {
  return (server as unknown as { readonly _connections?: number })._connections;
}

/** Whether an HTTP/1.1 connection could be served by another process from here on, without either end noticing. */
export function isIdle(socket: Socket, idle: ReadonlySet<unknown>): boolean {
  const { _handle: handle, parser } = insideOf(socket);
  return (
    !socket.destroyed &&
    handle !== null &&
    parser !== null &&
    parser !== undefined &&
    (socket.bytesRead === 0 || idle.has(parser)) &&
    pendingResponse(socket) === null &&
    socket.writableLength === 0 &&
    !socket.writableEnded &&
    socket.readableLength === 0 &&
    !hasEnded(socket)
  );
}

/**
 * Makes a new connection one between two requests, which it is: else its headers would be awaited from now on, and it would be
 * told 408 for saying nothing. Its parser is shown a request that nobody else hears of.
 */
export function rest(socket: Socket): void {
  const { parser } = insideOf(socket);
  if (parser === null || parser === undefined)
    throw new Error("a connection of an HTTP server has no parser");
  const { onIncoming } = parser;
  parser.onIncoming = () => 0;
  try {
    parser.execute(Buffer.from(ASK));
  } finally {
    parser.onIncoming = onIncoming;
    parser.incoming = null;
  }
}

/** While a connection is nobody's, nothing is written to it: not the 408 either, for which its time may be over just now. */
export function mute(socket: Socket, on: boolean): void {
  if (on) Object.assign(socket, { write: () => true, end: () => socket });
  else for (const name of ["write", "end"]) Reflect.deleteProperty(socket, name);
}

/** A connection of `server` that another process has accepted, as net.Server makes one of its own (onconnection, lib/net.js). Reads at once. */
export function adopt(server: Server, fd: number, options: { readonly paused?: boolean } = {}): Socket {
  const { allowHalfOpen = false } = server as unknown as { readonly allowHalfOpen?: boolean };
  const count = connectionCount(server);
  const paused = options.paused === true ? { manualStart: true } : {};
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen, ...paused });
  if (count !== undefined) {
    Object.assign(server, { _connections: count + 1 });
    insideOf(socket)._server = server;
  }
  insideOf(socket).server = server;
  return socket;
}

const CONNECTIONS = "http.server.connections";

/** A busy machine that starts several programs at once takes seconds for what takes milliseconds. */
const TRIAL_MS = 15_000;
const ASK = "GET / HTTP/1.1\r\nHost: handoffd\r\n\r\n";

/** Moves a connection within this process. null: all is as it must be; else what is not. */
export async function whyNothingMoves(): Promise<string | null> {
  if (addonProblem !== null) return addonProblem;
  const abort = AbortSignal.timeout(TRIAL_MS);
  try {
    return await tryOut(abort);
  } catch (error) {
    return abort.aborted ? "a connection that was moved within the process got no answer" : messageOf(error);
  }
}

async function tryOut(abort: AbortSignal): Promise<string | null> {
  const until = async (what: () => boolean): Promise<void> => {
    while (!what()) {
      abort.throwIfAborted();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const seen: Socket[] = [];
  const wrong: string[] = [];
  const check = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(what);
  };
  const server = createServer((request, response) => {
    check(pendingResponse(request.socket) === response, "a socket does not know its response");
    check(!isIdle(request.socket, idleParsers(server)), "a connection with a pending response looks idle");
    response.end("moved");
  });
  server.on("connection", (socket) => seen.push(socket));
  // Abstract: no port, no file.
  const path = `\0handoffd-trial-${process.pid}-${Math.random()}`;
  server.listen(path);
  await until(() => server.listening);
  const client = connect({ path });
  let answers = 0;
  client.on("error", (error) => wrong.push(error.message));
  client.on("data", (data: Buffer) => (answers += data.toString("latin1").split("\r\n\r\nmoved").length - 1));
  try {
    await until(() => seen.length === 1);
    const [first] = seen;
    if (first === undefined) return "no connection came";
    check(connectionsOf(server)[0] === first, "a server does not know the sockets of its connections");
    check(connectionCount(server) === 1, "a server does not know how many connections it has");
    check(isIdle(first, idleParsers(server)), "a connection on which nothing was said does not look idle");
    client.write(ASK.slice(0, -2));
    await until(() => first.bytesRead > 0);
    check(!isIdle(first, idleParsers(server)), "a connection with half a request looks idle");
    client.write(ASK.slice(-2));
    await until(() => answers === 1 && pendingResponse(first) === null);
    check(isIdle(first, idleParsers(server)), "a connection between two requests does not look idle");
    const fd = descriptorOf(first);
    if (fd === null || fd < 3) return "a socket does not know its descriptor";
    stopReading(first);
    client.write(ASK);
    const second = adopt(server, native.duplicate(fd));
    server.emit("connection", second);
    rest(second);
    check(
      idleParsers(server).size === 2,
      "a connection that was made one between two requests does not look it",
    );
    check(connectionCount(server) === 2, "a server does not count a connection that it was given");
    first.destroy();
    check(connectionCount(server) === 1, "a server counts a connection that is closed");
    await until(() => answers === 2 || wrong.length > 0);
    check(second.bytesRead === ASK.length, "a socket reads on although it was stopped");
    return wrong[0] ?? null;
  } finally {
    client.destroy();
    for (const socket of seen) socket.destroy();
    server.close();
  }
}
