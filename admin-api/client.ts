/**
 * The API for programs, over its unix socket or a URL. Nothing but Node at run time, so that a command that asks
 * one question starts at once.
 *
 * Each method resolves to the body of the answer and rejects with an ApiError when the daemon refused, or with a
 * CodedError DAEMON_NOT_REACHABLE, SOCKET_NOT_ALLOWED or ANSWER_NOT_UNDERSTOOD.
 */
import { messageOf } from "../handoff/coded-error.ts";
import { daemonNotReachable } from "./errors.ts";
import { type ReceivedMessage, readEvents } from "./event-reader.ts";
import type { DeployQuery, DeployRequest, HoldRequest } from "./request-schemas.ts";
import type {
  Deploy,
  DeployList,
  Diagnosis,
  Event,
  Generation,
  Listener,
  ListenerList,
  Reload,
  Service,
  ServiceList,
  Status,
  Upgrade,
} from "./schemas.ts";
import { type Endpoint, Transport } from "./transport.ts";

export { ApiError, type Endpoint } from "./transport.ts";

export type StreamMessage =
  | { readonly kind: "event"; readonly event: Event }
  /** The record as it is now. */
  | { readonly kind: "deploy"; readonly deploy: Deploy }
  /** Some events between the asked id and the next one are not kept any more. */
  | { readonly kind: "gap" }
  /** Nothing comes after. The deploy, where the stream was a deploy's. */
  | { readonly kind: "end"; readonly deploy: Deploy | null };

export interface DeployConditions {
  /** Refuse with GENERATION_STALE unless this generation is the current one. */
  readonly ifMatch?: number;
  readonly idempotencyKey?: string;
}

export interface StreamOptions {
  /** Begin after the event with this id; 0: all that is kept. Left out: only what happens from now on. */
  readonly since?: number;
  /** false: end after what is kept. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

/** Three heart-beats of the server: after so much silence the other end is gone. */
const SILENCE_MS = 45_000;

export class Client {
  readonly #transport: Transport;
  readonly #timeoutMs: number;

  /** `timeoutMs`: for each answer as a whole; streams are not bounded by it. Throws REQUEST_INVALID for a bad URL. */
  constructor(endpoint: Endpoint, { timeoutMs = 30_000 }: { readonly timeoutMs?: number } = {}) {
    this.#transport = new Transport(endpoint);
    this.#timeoutMs = timeoutMs;
  }

  async status(): Promise<Status> {
    return this.#ask("GET", "/v1/status");
  }

  async doctor(): Promise<Diagnosis> {
    return this.#ask("GET", "/v1/doctor");
  }

  async listeners(): Promise<readonly Listener[]> {
    return (await this.#ask<ListenerList>("GET", "/v1/listeners")).listeners;
  }

  async services(): Promise<readonly Service[]> {
    return (await this.#ask<ServiceList>("GET", "/v1/services")).services;
  }

  async service(name: string): Promise<Service> {
    return this.#ask("GET", path`/v1/services/${name}`);
  }

  async generation(service: string, number: number): Promise<Generation> {
    return this.#ask("GET", path`/v1/services/${service}/generations/${String(number)}`);
  }

  async deploy(
    service: string,
    request: DeployRequest = {},
    { ifMatch, idempotencyKey }: DeployConditions = {},
  ): Promise<Deploy> {
    return this.#ask("POST", path`/v1/services/${service}/deploys`, request, {
      ...(ifMatch !== undefined && { "if-match": `"${ifMatch}"` }),
      ...(idempotencyKey !== undefined && { "idempotency-key": idempotencyKey }),
    });
  }

  async rollback(service: string): Promise<Deploy> {
    return this.#ask("POST", path`/v1/services/${service}/rollback`);
  }

  /** Resolves when the new program was tried; what becomes of it is seen in the events. */
  async upgrade(): Promise<Upgrade> {
    return this.#ask("POST", "/v1/upgrade");
  }

  async restart(service: string): Promise<Deploy> {
    return this.#ask("POST", path`/v1/services/${service}/restart`);
  }

  async hold(service: string, request: Partial<HoldRequest> = {}): Promise<Service> {
    return this.#ask("POST", path`/v1/services/${service}/hold`, request);
  }

  async resume(service: string): Promise<Deploy> {
    return this.#ask("POST", path`/v1/services/${service}/resume`);
  }

  async scale(service: string, instances: number): Promise<Service> {
    return this.#ask("PUT", path`/v1/services/${service}/scale`, { instances });
  }

  async endGeneration(service: string, number: number): Promise<Generation> {
    return this.#ask("POST", path`/v1/services/${service}/generations/${String(number)}/end`);
  }

  async reload(): Promise<Reload> {
    return this.#ask("POST", "/v1/reload");
  }

  async listDeploys(query: DeployQuery = {}): Promise<DeployList> {
    const given = Object.entries(query).map(([name, value]) => [name, String(value)] as const);
    return this.#ask("GET", `/v1/deploys?${new URLSearchParams(Object.fromEntries(given)).toString()}`);
  }

  async getDeploy(id: string): Promise<Deploy> {
    return this.#ask("GET", path`/v1/deploys/${id}`);
  }

  async promote(id: string): Promise<Deploy> {
    return this.#ask("POST", path`/v1/deploys/${id}/promote`);
  }

  async abort(id: string): Promise<Deploy> {
    return this.#ask("POST", path`/v1/deploys/${id}/abort`);
  }

  async pause(id: string): Promise<Deploy> {
    return this.#ask("POST", path`/v1/deploys/${id}/pause`);
  }

  async continueDeploy(id: string): Promise<Deploy> {
    return this.#ask("POST", path`/v1/deploys/${id}/continue`);
  }

  /** Ends after the message `end`; a connection that is lost before rejects with DAEMON_NOT_REACHABLE. */
  events(options: StreamOptions = {}): AsyncGenerator<StreamMessage> {
    return this.#stream("/v1/events", options);
  }

  /** The events of one deploy and its record after each change, until it has ended. */
  deployEvents(id: string, options: StreamOptions = {}): AsyncGenerator<StreamMessage> {
    return this.#stream(path`/v1/deploys/${id}/events`, options);
  }

  async *#stream(at: string, { since, follow = true, signal }: StreamOptions): AsyncGenerator<StreamMessage> {
    const { where } = this.#transport;
    const response = await this.#transport.open({
      method: "GET",
      path: `${at}?follow=${follow}`,
      ...(since !== undefined && { headers: { "last-event-id": String(since) } }),
      ...(signal !== undefined && { signal }),
    });
    response.socket.setTimeout(SILENCE_MS, () => response.destroy(new Error("no sign of life")));
    try {
      for await (const message of readEvents(response)) {
        const received = understood(message);
        yield received;
        if (received.kind === "end") return;
      }
    } catch (error) {
      throw daemonNotReachable(where, `the connection was lost (${messageOf(error)})`, error);
    } finally {
      response.destroy();
    }
    throw daemonNotReachable(where, "the connection was closed before the end");
  }

  async #ask<T>(
    method: "GET" | "POST" | "PUT",
    at: string,
    body?: unknown,
    headers: Headers = {},
  ): Promise<T> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const response = await this.#transport.open({ method, path: at, body, headers, signal });
    return (await this.#transport.json(response)) as T;
  }
}

type Headers = Readonly<Record<string, string>>;

function understood({ event, data }: ReceivedMessage): StreamMessage {
  const body: unknown = JSON.parse(data);
  switch (event) {
    case "gap":
      return { kind: "gap" };
    case "deploy":
      return { kind: "deploy", deploy: body as Deploy };
    case "end":
      return { kind: "end", deploy: isDeploy(body) ? body : null };
    default:
      return { kind: "event", event: body as Event };
  }
}

/** A path whose filled-in parts cannot become separators. */
function path(fixed: TemplateStringsArray, ...parts: readonly string[]): string {
  return fixed.map((text, index) => text + encodeURIComponent(parts[index] ?? "")).join("");
}

function isDeploy(body: unknown): body is Deploy {
  return typeof body === "object" && body !== null && "phases" in body;
}
