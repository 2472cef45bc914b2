/**
 * The HTTP API on a socket that someone else has bound: this file assembles it, routes/ has one resource a file.
 *
 * Every refusal and failure is problem+json. A request that asks for a change leaves one line in the log: who
 * asked, for what, and what came of it. An error that nobody foresaw is logged once, under the request's id.
 */
import { randomUUID } from "node:crypto";
import type { Server } from "node:http";
import type { Socket } from "node:net";

import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  fastify,
} from "fastify";

import { messageOf } from "../handoff/coded-error.ts";
import { methodNotAllowed, routeUnknown } from "./errors.ts";
import { type EventStreamsOptions, EventStreams } from "./event-stream.ts";
import { Idempotency } from "./idempotency.ts";
import type { Caller, Operations } from "./operations.ts";
import { PROBLEM_TYPE, problemOf, translate } from "./problem.ts";
import type { RouteContext } from "./routes/context.ts";
import { deployRoutes } from "./routes/deploys.ts";
import { endRoutes } from "./routes/end.ts";
import { eventRoutes } from "./routes/events.ts";
import { healthRoutes } from "./routes/health.ts";
import { holdRoutes } from "./routes/hold.ts";
import { listenerRoutes } from "./routes/listeners.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { reloadRoutes } from "./routes/reload.ts";
import { restartRoutes } from "./routes/restart.ts";
import { rollbackRoutes } from "./routes/rollback.ts";
import { scaleRoutes } from "./routes/scale.ts";
import { serviceRoutes } from "./routes/services.ts";
import { statusRoutes } from "./routes/status.ts";
import { upgradeRoutes } from "./routes/upgrade.ts";
import { validatorCompiler } from "./validation.ts";

const BODY_LIMIT = 64 * 1024;
const HEADER_LIMIT = 16 * 1024;

export interface AdminServerOptions {
  readonly operations: Operations;
  /** The daemon's pino logger. */
  readonly log: FastifyBaseLogger;
  /** access.ts has the real one. Called once per connection; what it throws closes the connection. */
  readonly peerOf: (socket: Socket) => Caller;
  readonly streams?: EventStreamsOptions;
  /** Of a server before this one, to go on with. */
  readonly idempotency?: Idempotency;
}

export interface AdminServer {
  readonly app: FastifyInstance;
  /**
   * Serves on a bound and listening socket. The descriptor is consumed: `close` closes it. The path of a unix
   * socket stays, since Node unlinks only what it has bound itself.
   */
  listenOn(descriptor: number): Promise<void>;
  /**
   * Ends event streams, answers what was asked already, takes nothing new. Connections that are still open after
   * `patienceMs` are cut.
   */
  close(patienceMs?: number): Promise<void>;
}

export function createServer(options: AdminServerOptions): AdminServer {
  const { operations, log, peerOf, streams: limits, idempotency = new Idempotency() } = options;
  const app = fastify({
    http: { maxHeaderSize: HEADER_LIMIT, headersTimeout: 10_000, requestTimeout: 30_000 },
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    genReqId: () => `req-${randomUUID()}`,
    routerOptions: { maxParamLength: 256 },
    // While closing, what was asked on an open connection is still answered.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => refuse(error, request, reply as unknown as FastifyReply),
    clientErrorHandler: refuseMalformed,
  });
  const callers = identify(app.server, peerOf, log);
  const streams = new EventStreams(limits);
  const callerOf = (request: FastifyRequest): Caller => {
    const caller = callers.get(request.raw.socket);
    if (caller === undefined) throw new Error("a request came on a connection whose peer is unknown");
    return caller;
  };

  function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const known = translate(error, request, BODY_LIMIT);
    const problem = problemOf(known, request.id);
    if (problem.status >= 500)
      log.error({ err: known, request: request.id, route: request.url }, "request failed");
    codes.set(request, problem.code);
    void reply.code(problem.status).type(PROBLEM_TYPE).send(problem);
  }
  const codes = new WeakMap<FastifyRequest, string>();

  app.setValidatorCompiler(validatorCompiler);
  // The schemas of answers are documentation and are held by tests; a second serialiser would only drop fields.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.setErrorHandler((error, request, reply) => refuse(error, request, reply));
  readJson(app);
  refuseUnknownRoutes(app);
  app.addHook("onRequest", (request, reply, done) => {
    void reply.header("x-request-id", request.id).header("cache-control", "no-store");
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    if (request.method !== "GET" && request.method !== "HEAD") {
      const { name, uid, pid } = callerOf(request);
      const { statusCode: status } = reply;
      const asked = {
        request: request.id,
        method: request.method,
        route: request.url,
        body: brief(request.body),
      };
      const result = { status, code: codes.get(request), location: reply.getHeader("location") };
      log.info({ caller: { name, uid, pid }, ...asked, ...result }, "change requested");
    }
    done();
  });

  const context: RouteContext = { operations, streams, idempotency, callerOf, log };
  for (const routes of ROUTES) routes(app, context);

  return {
    app,
    async listenOn(descriptor) {
      await app.ready();
      await new Promise<void>((resolve, reject) => {
        app.server.once("error", reject);
        app.server.listen({ fd: descriptor }, () => {
          app.server.off("error", reject);
          resolve();
        });
      });
    },
    async close(patienceMs) {
      streams.closeAll();
      const cut = (): void => app.server.closeAllConnections();
      const late = patienceMs === undefined ? undefined : setTimeout(cut, patienceMs);
      await app.close();
      clearTimeout(late);
    },
  };
}

const ROUTES = [
  healthRoutes,
  metricsRoutes,
  statusRoutes,
  listenerRoutes,
  serviceRoutes,
  deployRoutes,
  rollbackRoutes,
  restartRoutes,
  holdRoutes,
  scaleRoutes,
  endRoutes,
  reloadRoutes,
  eventRoutes,
  upgradeRoutes,
] as const;

/** What was asked for, as long as it is no more than a request needs. */
function brief(body: unknown): unknown {
  const length = JSON.stringify(body ?? null).length;
  return length <= 2048 ? body : `(${length} characters)`;
}

/** Asks for the peer as soon as a connection is there: later it may be closed, and nobody could be named. */
function identify(
  server: Server,
  peerOf: (socket: Socket) => Caller,
  log: FastifyBaseLogger,
): WeakMap<Socket, Caller> {
  const callers = new WeakMap<Socket, Caller>();
  server.maxConnections = 512;
  server.prependListener("connection", (socket: Socket) => {
    try {
      callers.set(socket, peerOf(socket));
    } catch (error) {
      log.warn({ err: error }, "connection closed: its peer is unknown");
      socket.destroy();
    }
  });
  return callers;
}

/** JSON is the only body; none at all is an empty object, so that `curl -X POST` is enough. */
function readJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body: string, done) => {
    if (body === "") done(null, {});
    else void parse(request, body, done);
  });
  app.addHook("preValidation", (request, _reply, done) => {
    // Not for null, which someone has written.
    if (request.body === undefined && ["POST", "PUT"].includes(request.method)) request.body = {};
    done();
  });
}

/** 405 with Allow where the path exists under another method, 404 otherwise. */
function refuseUnknownRoutes(app: FastifyInstance): void {
  const routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [];
  app.addHook("onRoute", ({ url, method }) => {
    routes.push({ pattern: new RegExp(`^${url.replace(/:[a-z]+/g, "[^/]+")}$`), methods: [method].flat() });
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?")[0] ?? "/";
    const matching = routes.filter(({ pattern }) => pattern.test(path));
    const allowed = [...new Set(matching.flatMap(({ methods }) => methods))].sort();
    if (allowed.length === 0) throw routeUnknown(path);
    void reply.header("allow", allowed.join(", "));
    throw methodNotAllowed(request.method, path, allowed);
  });
}

/** Bytes that are not HTTP, headers that are too large or too slow: there is no request yet, only a socket. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  const [status, phrase] =
    error.code === "HPE_HEADER_OVERFLOW"
      ? ([431, "Request Header Fields Too Large"] as const)
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? ([408, "Request Timeout"] as const)
        : ([400, "Bad Request"] as const);
  if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy();
  const detail = `The request could not be read: ${messageOf(error)}.`;
  const body = JSON.stringify({
    type: "urn:handoffd:error:REQUEST_INVALID",
    title: phrase,
    status,
    detail,
    code: "REQUEST_INVALID",
  });
  socket.end(
    `HTTP/1.1 ${status} ${phrase}\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
