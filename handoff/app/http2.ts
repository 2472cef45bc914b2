/**
 * The sessions of an HTTP/2 server in a drain: GOAWAY twice (RFC 9113, 6.8). The first names no stream and is a warning; when the client
 * has answered a PING behind it, it has heard, and the second one is final: what is open finishes, and the session ends.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2Session } from "node:http2";
import { Server as NetServer, type Socket } from "node:net";
import type { Adapter, Draining } from "./adapter.ts";

const NO_ERROR = 0;
const EVERY_STREAM = 2 ** 31 - 1;
/** A client that does not answer a PING. */
const PONG_MS = 1000;

export class Http2Adapter implements Adapter {
  readonly kind = null;
  readonly listener: string;
  readonly #server: NetServer;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<Http2Session>();
  #draining: Draining | null = null;

  constructor(server: NetServer, listener: string) {
    this.#server = server;
    this.listener = listener;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => {
        this.#sockets.delete(socket);
        this.#draining?.changed();
      });
    });
    server.on("session", (session: Http2Session) => {
      this.#sessions.add(session);
      session.once("close", () => this.#sessions.delete(session));
      if (this.#draining !== null) goAway(session);
    });
  }

  get left(): number {
    return this.#sockets.size;
  }

  drain(draining: Draining): void {
    this.#draining = draining;
    // Not the server's own close(): since Node 24 that ends the sessions.
    NetServer.prototype.close.call(this.#server);
    for (const session of this.#sessions) goAway(session);
    // With allowHTTP1 some of its clients speak that.
    this.#server.prependListener(
      "request",
      ({ httpVersionMajor }: IncomingMessage, response: ServerResponse) => {
        if (httpVersionMajor === 1 && !response.headersSent) response.setHeader("Connection", "close");
      },
    );
  }

  next(): null {
    return null;
  }

  retry(): void {
    // Nothing of it moves.
  }

  adopt(): never {
    throw new Error("HTTP/2 does not move");
  }

  serve(): never {
    throw new Error("HTTP/2 does not move");
  }
}

function goAway(session: Http2Session): void {
  if (session.destroyed || session.closed) return;
  const timer = setTimeout(close, PONG_MS);
  timer.unref();
  function close(): void {
    clearTimeout(timer);
    if (!session.destroyed && !session.closed) session.close();
  }
  session.goaway(NO_ERROR, EVERY_STREAM);
  if (!session.ping(close)) close();
}
