import type { FastifyBaseLogger, FastifyRequest } from "fastify";

import { serviceUnknown } from "../errors.ts";
import type { EventStreams } from "../event-stream.ts";
import { keyOf } from "../gate.ts";
import type { Idempotency } from "../idempotency.ts";
import type { Awaitable, Caller, Operations } from "../operations.ts";
import type { Service } from "../schemas.ts";

/** What every resource has at hand. */
export interface RouteContext {
  readonly operations: Operations;
  readonly streams: EventStreams;
  readonly idempotency: Idempotency;
  readonly callerOf: (request: FastifyRequest) => Caller;
  readonly log: FastifyBaseLogger;
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
  if (typeof key !== "string" || key === "") return act(caller);
  return idempotency.once(key, keyOf(caller), [request.method, request.url, request.body], () => act(caller));
}
