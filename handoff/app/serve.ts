/** Brings a server to its socket, and into the drain. */
import { once } from "node:events";
import type { ListenOptions, Server as NetServer } from "node:net";
import type { Adapter } from "./adapter.ts";
import { HttpAdapter, type HttpServer } from "./http.ts";
import { Http2Adapter } from "./http2.ts";
import { NetAdapter, type SocketMover } from "./net.ts";
import type { Program } from "./program.ts";
import { serverOf, type Target } from "./target.ts";
import { type WebSocketMover, WsAdapter } from "./ws.ts";
import { type WebSocketServer, whyNoWebSocketMoves } from "./ws-private.ts";
import { noSuchListener } from "../errors.ts";

export interface ServeOptions {
  /** The listener's name, as in the configuration of handoffd (LISTEN_FDNAMES). Default: the first that is not served yet. */
  readonly listener?: string;
  /** Where to listen when nobody gave a socket: a port, a path, or what net.Server's listen takes. Default: PORT, else 8080. */
  readonly listen?: number | string | ListenOptions;
  /** The web sockets of this HTTP server: a WebSocketServer of the package ws, or that with what to say of each. */
  readonly webSockets?: WebSocketServer | WebSocketMover;
  /** Of a net.Server: how its connections move. Without it they are the application's own to end. */
  readonly sockets?: SocketMover;
  /** Says READY=1 as soon as it listens. Default: true. With several servers say false, and call `ready` when all are there. */
  readonly ready?: boolean;
  /** How long a drain may take where nobody supervises the process, in milliseconds. Default: 30,000. */
  readonly drainTimeoutMs?: number;
  /** Whether the process ends itself when it has drained. Default: true. */
  readonly exit?: boolean;
}

export async function serveIn(program: Program, target: Target, options: ServeOptions): Promise<NetServer> {
  const { server, speaks, prepare, finish } = serverOf(target);
  program.attend();
  program.configure({ drainTimeoutMs: options.drainTimeoutMs, exit: options.exit });
  await prepare();
  const inherited = program.claim(options.listener);
  if (inherited === null && options.listener !== undefined && program.listeners.length > 0) {
    throw noSuchListener(
      options.listener,
      program.listeners.map(({ name }) => name),
    );
  }
  const moves = await program.canMove();
  const listener = inherited?.name ?? options.listener ?? "";
  const complain = (what: string): void => program.complain(what);
  const adapters = [adapterOf(server, speaks, listener, moves, options.sockets ?? null, complain)];
  if (options.webSockets !== undefined) {
    adapters.push(
      await webSocketAdapter(program, server, listener, moves && speaks === "http", options.webSockets),
    );
  }
  server.listen(inherited === null ? whereOf(options.listen) : { fd: inherited.fd });
  if (!server.listening) await once(server, "listening");
  await program.add(adapters, finish);
  if (options.ready !== false) await program.ready();
  return server;
}

function adapterOf(
  server: NetServer,
  speaks: "http" | "https" | "http2" | "net",
  listener: string,
  moves: boolean,
  mover: SocketMover | null,
  complain: (what: string) => void,
): Adapter {
  switch (speaks) {
    case "http":
    case "https":
      return new HttpAdapter(server as HttpServer, listener, moves && speaks === "http");
    case "http2":
      return new Http2Adapter(server, listener);
    case "net":
      return new NetAdapter(server, listener, moves ? mover : null, complain);
  }
}

async function webSocketAdapter(
  program: Program,
  server: NetServer,
  listener: string,
  moves: boolean,
  given: WebSocketServer | WebSocketMover,
): Promise<Adapter> {
  const mover = "clients" in given ? { server: given } : given;
  const why = moves ? await whyNoWebSocketMoves(mover.server) : null;
  if (why !== null)
    program.complain(`web sockets are not moved to the next generation, they are told 1012: ${why}`);
  return new WsAdapter(server, listener, mover, moves && why === null, (what) => program.complain(what));
}

function whereOf(listen: ServeOptions["listen"]): ListenOptions {
  if (typeof listen === "object") return listen;
  if (typeof listen === "string") return { path: listen };
  return { port: listen ?? Number(process.env["PORT"] ?? 8080) };
}
