/**
 * One request, one connection: to the unix socket or to a URL, with every way that it can fail put into a coded error.
 */
import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";

import { CodedError, messageOf } from "../handoff/coded-error.ts";
import { answerNotUnderstood, daemonNotReachable, requestInvalid, socketNotAllowed } from "./errors.ts";
import type { Problem } from "./schemas.ts";

export type Endpoint = { readonly socketPath: string } | RemoteEndpoint;

export interface RemoteEndpoint {
  readonly url: string;
  /** Sent as a bearer token. */
  readonly token?: string;
  /** PEM each. `ca` replaces the CAs that Node trusts; `cert` and `key` are who asks. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** What the daemon answered instead of doing it. */
export class ApiError extends CodedError {
  readonly status: number;
  readonly detail: string;
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.code, problem.detail);
    this.name = "ApiError";
    this.status = problem.status;
    this.detail = problem.detail;
    this.problem = problem;
  }
}

export interface Question {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export class Transport {
  /** Where it asks, for people. */
  readonly where: string;
  readonly #send: typeof httpRequest;
  readonly #target: Readonly<Record<string, string>>;
  readonly #prefix: string;
  readonly #authorization: Readonly<Record<string, string>>;

  /** Throws REQUEST_INVALID for a URL that is none. */
  constructor(endpoint: Endpoint) {
    if ("socketPath" in endpoint) {
      this.where = endpoint.socketPath;
      this.#send = httpRequest;
      this.#target = { socketPath: endpoint.socketPath };
      this.#prefix = "";
      this.#authorization = {};
      return;
    }
    const { token, ca, cert, key } = endpoint;
    const url = URL.canParse(endpoint.url) ? new URL(endpoint.url) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) {
      throw requestInvalid(`"${endpoint.url}" is not an http or https URL.`);
    }
    this.where = endpoint.url;
    this.#send = url.protocol === "https:" ? httpsRequest : httpRequest;
    this.#target = {
      hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: url.port,
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
    };
    this.#authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    this.#prefix = url.pathname.replace(/\/$/, "");
  }

  /** Resolves to an answer below 300, whose body is still to be read. */
  async open({ method, path, body, headers, signal }: Question): Promise<IncomingMessage> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = this.#send(
        {
          ...this.#target,
          method,
          path: this.#prefix + path,
          headers: {
            ...this.#authorization,
            ...headers,
            ...(text !== undefined && { "content-type": "application/json" }),
          },
          // A connection of its own: nothing stays open behind a command that has ended.
          agent: false,
          ...(signal !== undefined && { signal }),
        },
        resolve,
      );
      request.once("error", (error) => reject(this.#unreachable(error)));
      request.end(text);
    });
    const status = response.statusCode ?? 500;
    if (status < 300) return response;
    const answer = await this.json(response);
    throw isProblem(answer)
      ? new ApiError(answer)
      : answerNotUnderstood(this.where, `status ${status}, but no problem`);
  }

  async json(response: IncomingMessage): Promise<unknown> {
    let text = "";
    response.setEncoding("utf8");
    try {
      for await (const chunk of response) text += chunk as string;
    } catch (error) {
      throw this.#unreachable(error);
    }
    try {
      return JSON.parse(text);
    } catch (error) {
      throw answerNotUnderstood(this.where, `status ${response.statusCode ?? 0}, but no JSON`, error);
    }
  }

  #unreachable(error: unknown): CodedError {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "EACCES" || code === "EPERM") return socketNotAllowed(this.where, error);
    return daemonNotReachable(this.where, WHY[code] ?? messageOf(error), error);
  }
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket",
  ECONNREFUSED: "nobody listens there",
  ECONNRESET: "the connection was lost",
  ABORT_ERR: "no answer in time",
};

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "code" in body && "detail" in body && "status" in body;
}
