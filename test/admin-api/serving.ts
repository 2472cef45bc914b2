/** The real server on a real unix socket of a directory of its own, with a fake daemon behind it. */
import { mkdtemp, rm } from "node:fs/promises";
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import type { RequestOptions } from "node:https";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Logger, pino } from "pino";
import { onTestFinished } from "vitest";

import { Client } from "../../admin-api/client.ts";
import type { Access, Peer } from "../../admin-api/access.ts";
import type { RateLimits } from "../../admin-api/gate.ts";
import type { EventStreamsOptions } from "../../admin-api/event-stream.ts";
import type { Door, DoorTimes } from "../../admin-api/door.ts";
import type { UnixCaller } from "../../admin-api/operations.ts";
import { type AdminServer, createServer } from "../../admin-api/server.ts";
import { native } from "../../handoff/native.ts";
import { FakeOperations } from "./fake-operations.ts";

export const ROOT: UnixCaller = {
  transport: "unix",
  pid: 4711,
  uid: 0,
  gid: 0,
  name: "root (uid 0)",
  role: "admin",
  services: null,
};

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Serving {
  readonly path: string;
  readonly operations: FakeOperations;
  readonly server: AdminServer;
  /** Of the unix socket. */
  readonly door: Door;
  readonly client: Client;
  /** Everything that was logged so far. */
  readonly log: readonly LogLine[];
  readonly ask: (
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<Answer>;
}

export interface ServingOptions {
  readonly operations?: FakeOperations;
  readonly streams?: EventStreamsOptions;
  readonly peerOf?: (socket: Socket) => Peer;
  readonly access?: Access;
  readonly limits?: RateLimits;
  readonly times?: DoorTimes;
  /** Where to listen: by default in a new directory. */
  readonly path?: string;
}

/** Everything is closed and removed when the test has finished. */
export async function serve(options: ServingOptions = {}): Promise<Serving> {
  const { operations = new FakeOperations(), streams = {}, access, limits, times } = options;
  const peerOf: (socket: Socket) => Peer = options.peerOf ?? (() => ROOT);
  const path = options.path ?? join(await temporaryDirectory(), "admin.sock");
  const log: LogLine[] = [];
  const server = createServer({
    operations,
    log: collecting(log),
    peerOf,
    streams,
    ...(access !== undefined && { access }),
    ...(limits !== undefined && { limits }),
    ...(times !== undefined && { times }),
  });
  const door = await server.listenOn(listeningOn(path));
  onTestFinished(() => server.close());
  const client = new Client({ socketPath: path });
  return { path, operations, server, door, client, log, ask: (...question) => ask(path, ...question) };
}

/** A descriptor as the daemon has it: bound and listening, and nothing of Node's. */
export function listeningOn(path: string): number {
  const descriptor = native.socket("unix", "stream", true);
  native.bind(descriptor, { family: "unix", path });
  native.listen(descriptor, 64);
  return descriptor;
}

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "handoffd-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export function collecting(lines: LogLine[]): Logger {
  return pino({ level: "info" }, { write: (text: string) => void lines.push(JSON.parse(text) as LogLine) });
}

/** One request as it stands, so that what a typed client would never send can be sent. A string body goes as it is. */
export async function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return answerOf(request, { socketPath, method, path, headers, agent: false }, body);
}

/** The whole answer to a request, over whatever `send` and `options` reach. */
export async function answerOf(
  send: (options: RequestOptions, answered: (response: IncomingMessage) => void) => ClientRequest,
  options: RequestOptions,
  body: unknown,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const type: Readonly<Record<string, string>> =
      body === undefined ? {} : { "content-type": "application/json" };
    const headers = { ...type, ...(options.headers as Readonly<Record<string, string>>) };
    const asked = send({ ...options, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.once("error", reject);
      response.once("end", () => {
        const json = response.headers["content-type"]?.includes("json") === true;
        const parsed = (json && text !== "" ? JSON.parse(text) : {}) as Answer["body"];
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body: parsed });
      });
    });
    asked.once("error", reject);
    asked.end(body === undefined || typeof body === "string" ? body : JSON.stringify(body));
  });
}
