/**
 * The HTTP API on sockets that someone else has bound: this file assembles it, routes/ has one resource a file.
 *
 * Every refusal and failure is problem+json. A request that asks for a change leaves one line in the log: who
 * asked, for what, and what came of it. An error that nobody foresaw is logged once, under the request's id.
 */
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  fastify,
} from "fastify";

import { CodedError } from "../handoff/coded-error.ts";
import { Access, type Peer } from "./access.ts";
import { audit, withoutTokens } from "./audit.ts";
import { Door, DOOR_TIMES, type DoorKind, type DoorTimes, type Entrance } from "./door.ts";
import { methodNotAllowed, routeUnknown } from "./errors.ts";
import { type EventStreamsOptions, EventStreams } from "./event-stream.ts";
import { Gate, pathOf, RATE_LIMITS, type RateLimits } from "./gate.ts";
import { Idempotency } from "./idempotency.ts";
import type { Caller, Operations } from "./operations.ts";
import { PROBLEM_TYPE, problemOf, translate } from "./problem.ts";
import { addRoutes } from "./routes.ts";
import type { RouteContext } from "./routes/context.ts";
import { STATUS_TYPE, StatusText } from "./status-text.ts";
import { COMPILERS } from "./validation.ts";

const BODY_LIMIT = 64 * 1024;

/** Of every answer. There are no CORS headers: no page of another site may read one. */
const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

export interface AdminServerOptions {
  readonly operations: Operations;
  /** The daemon's pino logger. */
  readonly log: FastifyBaseLogger;
  /** access.ts has the real one. Called once per connection; what it throws closes the connection. */
  readonly peerOf: (socket: Socket) => Peer;
  /** Who may do what. By default whoever connects to the unix socket may do everything. */
  readonly access?: Access;
  readonly streams?: EventStreamsOptions;
  readonly limits?: RateLimits;
  /** Of a server before this one, to go on with. */
  readonly idempotency?: Idempotency;
  readonly times?: DoorTimes;
}

export interface AdminServer {
  readonly app: FastifyInstance;
  /**
   * Serves on a bound and listening socket. The descriptor is consumed: `close` closes it. The path of a unix
   * socket stays, since Node unlinks only what it has bound itself.
   */
  listenOn(descriptor: number, kind?: DoorKind): Promise<Door>;
  /**
   * Ends event streams, answers what was asked already, takes nothing new. Connections that are still open after
   * `patienceMs` are cut.
   */
  close(patienceMs?: number): Promise<void>;
}

export function createServer({
  operations,
  log,
  peerOf,
  access = new Access(),
  streams: streamOptions,
  limits = RATE_LIMITS,
  idempotency = new Idempotency(),
  times = DOOR_TIMES,
}: AdminServerOptions): AdminServer {
  let handle: (request: IncomingMessage, response: ServerResponse) => void = () => undefined;
  const app = fastify({
    // Fastify's own server never listens: requests come in by the doors.
    serverFactory: (handler) => {
      handle = handler;
      return createHttpServer();
    },
    loggerInstance: log,
    // What is logged of a request says so itself.
    childLoggerFactory: (logger) => logger,
    logController: new LogController({ disableRequestLogging: true }),
    schemaController: { compilersFactory: COMPILERS },
    bodyLimit: BODY_LIMIT,
    genReqId: newId,
    routerOptions: { maxParamLength: 256 },
    // While closing, what was asked on an open connection is still answered.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => refuse(error, request, reply as unknown as FastifyReply),
  });
  const entrances = new WeakMap<IncomingMessage, Entrance>();
  const doors: Door[] = [];
  const streams = new EventStreams(streamOptions);
  const stopWaking = operations.events.subscribe(() => streams.wakeAll());
  const entranceOf = ({ raw }: FastifyRequest): Entrance => {
    const entrance = entrances.get(raw);
    if (entrance === undefined) throw new Error("a request came in by no door");
    return entrance;
  };
  const gate = new Gate({ access, operations, entranceOf, limits });
  const callerOf = (request: FastifyRequest): Caller => {
    const caller = gate.callerOf(request);
    if (caller === null) throw new Error("a route that anyone may use asks who asks");
    return caller;
  };

  function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const known = translate(error, request, BODY_LIMIT);
    const problem = problemOf(known, request.id);
    if (problem.status >= 500)
      log.error({ err: known, request: request.id, route: withoutTokens(pathOf(request)) }, "request failed");
    codes.set(request, problem.code);
    void reply.headers({ ...HEADERS, "x-request-id": request.id });
    if (problem.status === 401) void reply.header("www-authenticate", 'Bearer realm="handoffd"');
    if (known instanceof CodedError && known.code === "RATE_LIMITED")
      void reply.header("retry-after", known.details["retryAfterS"]);
    void reply.code(problem.status).type(PROBLEM_TYPE).send(problem);
  }
  const codes = new WeakMap<FastifyRequest, string>();
  const status = new StatusText(operations);

  app.setErrorHandler((error, request, reply) => refuse(error, request, reply));
  app.addHook("onRequest", (request, reply, done) => {
    void reply.headers({ ...HEADERS, "x-request-id": request.id });
    done(gate.refusalOf(request));
  });
  app.addHook("preHandler", (request, _reply, done) => {
    const admission = gate.admitService(request);
    // Nothing that need not be waited for waits: it is the rule, and each wait is a turn that others have in between.
    if (admission === null) done();
    else admission.then(() => done(), done);
  });
  app.addHook("onResponse", (request, reply, done) => {
    audit(log, request, reply, { caller: gate.callerOf(request), code: codes.get(request) });
    done();
  });
  readJson(app);
  refuseUnknownRoutes(app);

  const closing = new AbortController();
  const { signal } = closing;
  // Each request that waits listens.
  setMaxListeners(0, signal);
  // Loaded when someone asks: it is not small.
  const describe = async () => (await import("./openapi.ts")).describeApi();
  const context: RouteContext = {
    operations,
    status,
    streams,
    idempotency,
    callerOf,
    log,
    closing: signal,
    describe,
  };
  addRoutes(app, context);

  /**
   * The status is what is asked most, by whoever looks on: plainly asked for by who plainly may, it is answered here, without all
   * that a route can do, for a fraction of what that costs. Anything else goes the ordinary way. Returns whether it was answered.
   */
  function isGlance(request: IncomingMessage, response: ServerResponse): boolean {
    if (request.url !== "/v1/status" || request.method !== "GET" || signal.aborted) return false;
    const entrance = entrances.get(request);
    if (entrance === undefined || !gate.mayLook(entrance, request)) return false;
    let text: string;
    try {
      text = status.now();
    } catch {
      return false; // The ordinary way says why.
    }
    response.writeHead(200, {
      ...HEADERS,
      "x-request-id": newId(),
      "content-type": STATUS_TYPE,
      "content-length": Buffer.byteLength(text),
    });
    response.end(text);
    return true;
  }

  return {
    app,
    async listenOn(descriptor, kind = { kind: "unix" }) {
      await app.ready();
      const door = new Door(kind, entrances, {
        log,
        peerOf,
        times,
        handle: (request, response) => {
          if (!isGlance(request, response)) handle(request, response);
        },
      });
      await door.listenOn(descriptor);
      doors.push(door);
      return door;
    },
    async close(patienceMs) {
      closing.abort();
      stopWaking();
      streams.closeAll();
      await Promise.all(doors.map((door) => door.close(patienceMs)));
      await app.close();
    },
  };
}

function newId(): string {
  return `req-${randomUUID()}`;
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
    const path = pathOf(request);
    const matching = routes.filter(({ pattern }) => pattern.test(path));
    const allowed = [...new Set(matching.flatMap(({ methods }) => methods))].sort();
    if (allowed.length === 0) throw routeUnknown(path);
    void reply.header("allow", allowed.join(", "));
    throw methodNotAllowed(request.method, path, allowed);
  });
}
