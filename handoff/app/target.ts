/** What people hand to `serve`: a server of Node's, or what a framework calls an application. Known by its shape: none is imported. */
import { createServer, type RequestListener, Server as HttpServer } from "node:http";
import { Server as NetServer } from "node:net";
import { Server as TlsServer } from "node:tls";

/** Fastify. */
interface WithServer {
  readonly server: NetServer;
  ready(): PromiseLike<unknown>;
  close(): PromiseLike<unknown>;
}

/** Koa. */
interface WithCallback {
  callback(): RequestListener;
}

/** A server of node:http, https, http2 or net; a Fastify instance; an Express application or any request listener; a Koa application. */
export type Target = NetServer | WithServer | WithCallback | RequestListener;

export interface Server {
  readonly server: NetServer;
  readonly speaks: "http" | "https" | "http2" | "net";
  /** Before it listens. */
  readonly prepare: () => Promise<void>;
  /** When its last connection has gone. */
  readonly finish: () => Promise<void>;
}

const nothing = (): Promise<void> => Promise.resolve();

export function serverOf(target: Target): Server {
  if (target instanceof NetServer) return plain(target);
  if (hasServer(target)) {
    return {
      ...plain(target.server),
      prepare: async () => {
        await target.ready();
      },
      finish: async () => {
        await target.close();
      },
    };
  }
  if (hasCallback(target)) return plain(createServer(target.callback()));
  if (typeof target === "function") return plain(createServer(target));
  throw new TypeError(
    "serve() wants a server of Node's, a request listener, or a Fastify or Koa application",
  );
}

function plain(server: NetServer): Server {
  return { server, speaks: speaks(server), prepare: nothing, finish: nothing };
}

function speaks(server: NetServer): Server["speaks"] {
  // Both servers of node:http2 have it; their classes are not exported.
  if ("updateSettings" in server) return "http2";
  if (server instanceof TlsServer) return "https";
  return server instanceof HttpServer ? "http" : "net";
}

function hasServer(target: object): target is WithServer {
  return "server" in target && target.server instanceof NetServer && "ready" in target && "close" in target;
}

function hasCallback(target: object): target is WithCallback {
  return "callback" in target && typeof target.callback === "function";
}
