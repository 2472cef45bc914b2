import type { FastifyBaseLogger, FastifyRequest } from "fastify";

import { generationStale, requestInvalid, serviceUnknown } from "../errors.ts";
import type { EventStreams } from "../event-stream.ts";
import { keyOf } from "../gate.ts";
import type { Idempotency } from "../idempotency.ts";
import type { Awaitable, Caller, Operations } from "../operations.ts";
import type { Service } from "../schemas.ts";
import type { StatusText } from "../status-text.ts";

/** What every resource has at hand. */
export interface RouteContext {
  readonly operations: Operations;
  readonly status: StatusText;
  readonly streams: EventStreams;
  readonly idempotency: Idempotency;
  /** Throws for a route that anyone may use. */
  readonly callerOf: (request: FastifyRequest) => Caller;
  readonly log: FastifyBaseLogger;
  /** Aborted when the server closes: whoever waits answers with what there is. */
  readonly closing: AbortSignal;
  /** The OpenAPI document. */
  readonly describe: () => Promise<unknown>;
}

/** The service as `status()` has it. Throws SERVICE_UNKNOWN with the names that there are. */
export function findService(operations: Operations, name: string): Service {
  const { services } = operations.status();
  const service = services.find((candidate) => candidate.name === name);
  if (service === undefined) {
    const names = services.map((candidate) => candidate.name);
    throw serviceUnknown(name, names);
  }
  return service;
}

/** Does what the request asks for, once per Idempotency-Key when it has one. */
export async function once<T>(
  { idempotency, callerOf }: RouteContext,
  request: FastifyRequest,
  act: (caller: Caller) => Awaitable<T>,
): Promise<T> {
  const caller = callerOf(request);
  const key = request.headers["idempotency-key"];
  if (key === undefined) return act(caller);
  if (typeof key !== "string" || !/^[\x21-\x7e]{1,255}$/u.test(key)) {
    const place = "Idempotency-Key";
    throw requestInvalid(`The header ${place} must be 1 to 255 visible ASCII characters.`, { place });
  }
  return idempotency.once(key, keyOf(caller), [request.method, request.url, request.body], () => act(caller));
}

/** The same for a change of a service, which If-Match makes a compare-and-set. */
export async function onService<T>(
  context: RouteContext,
  request: FastifyRequest<{ Params: { readonly service: string } }>,
  act: (service: string, caller: Caller) => Awaitable<T>,
): Promise<T> {
  return once(context, request, (caller) => {
    const { service } = request.params;
    // In one turn with the change itself: between the two nothing can become current.
    expectGeneration(context.operations, service, request.headers["if-match"]);
    return act(service, caller);
  });
}

/** If-Match: the quoted number of the current generation, several of them, or `*` for any. */
function expectGeneration(operations: Operations, service: string, header: string | undefined): void {
  if (header === undefined) return;
  const { current } = findService(operations, service);
  const accepted = header.split(",").map((tag) => tag.trim());
  if (current !== null && (accepted.includes("*") || accepted.includes(`"${current}"`))) return;
  throw generationStale(service, header, current);
}
