/**
 * What the API refuses by itself, and what its client can run into. The sentence is the `detail` of the problem
 * that the caller gets, so it names what was asked for and what there is.
 */
import { CodedError } from "../handoff/coded-error.ts";
import { didYouMean } from "./suggestion.ts";

function listed(kind: string, known: readonly string[]): string {
  if (known.length === 0) return `There are no ${kind}s.`;
  return known.length === 1
    ? `The only ${kind} is ${known.join()}.`
    : `The ${kind}s are ${known.join(", ")}.`;
}

export function serviceUnknown(name: string, known: readonly string[]): CodedError {
  return new CodedError(
    "SERVICE_UNKNOWN",
    `There is no service "${name}".${didYouMean(name, known)} ${listed("service", known)}`,
    { details: { service: name, known } },
  );
}

export function listenerUnknown(name: string, known: readonly string[]): CodedError {
  return new CodedError(
    "LISTENER_UNKNOWN",
    `There is no listener "${name}".${didYouMean(name, known)} ${listed("listener", known)}`,
    { details: { listener: name, known } },
  );
}

export function generationUnknown(service: string, number: number, known: readonly number[]): CodedError {
  return new CodedError(
    "GENERATION_UNKNOWN",
    `The service ${service} has no generation ${number}. ${listed("generation", known.map(String))}`,
    { details: { service, generation: number, known } },
  );
}

export function deployUnknown(id: string): CodedError {
  return new CodedError(
    "DEPLOY_UNKNOWN",
    `There is no deploy "${id}". GET /v1/deploys lists those that are kept.`,
    {
      details: { deploy: id },
    },
  );
}

export function requestInvalid(message: string, details: Readonly<Record<string, unknown>> = {}): CodedError {
  return new CodedError("REQUEST_INVALID", message, { details });
}

export function routeUnknown(path: string): CodedError {
  return new CodedError("ROUTE_UNKNOWN", `There is no resource ${path}. docs/api.md lists what there is.`, {
    details: { path },
  });
}

export function methodNotAllowed(method: string, path: string, allowed: readonly string[]): CodedError {
  return new CodedError(
    "METHOD_NOT_ALLOWED",
    `${path} does not take ${method}. It takes ${allowed.join(", ")}.`,
    {
      details: { method, path, allowed },
    },
  );
}

export function mediaTypeUnsupported(given: string | undefined): CodedError {
  const what = given === undefined ? "A body without a Content-Type" : `A body of type "${given}"`;
  return new CodedError(
    "MEDIA_TYPE_UNSUPPORTED",
    `${what} is not read. Send JSON with Content-Type: application/json.`,
    { details: { given: given ?? null } },
  );
}

export function bodyTooLarge(limit: number): CodedError {
  return new CodedError("BODY_TOO_LARGE", `The body is larger than ${limit} bytes, the most that is read.`, {
    details: { limit },
  });
}

export function generationStale(service: string, expected: string, current: number | null): CodedError {
  return new CodedError(
    "GENERATION_STALE",
    `If-Match asks for generation ${expected} of ${service}, but the current one is ${current ?? "none"}. ` +
      "Nothing was changed. Read the service again and decide anew.",
    { details: { service, expected, current } },
  );
}

export function idempotencyKeyReused(key: string): CodedError {
  return new CodedError(
    "IDEMPOTENCY_KEY_REUSED",
    `The Idempotency-Key "${key}" was used within the last 24 hours for another request. Nothing was changed. ` +
      "Use a new key for a new request.",
    { details: { key } },
  );
}

/** Made by the client: nobody answers at `where`. */
export function daemonNotReachable(where: string, why: string, cause?: unknown): CodedError {
  return new CodedError(
    "DAEMON_NOT_REACHABLE",
    `handoffd is not reachable at ${where}: ${why}. Is it running? Another socket is chosen by --socket or HANDOFFD_SOCKET.`,
    { cause },
  );
}

/** Made by the client: the kernel keeps this user from connecting to the socket. */
export function socketNotAllowed(where: string, cause: unknown): CodedError {
  return new CodedError(
    "SOCKET_NOT_ALLOWED",
    `You may not connect to ${where}: permission denied. Be the socket's user, or in its group (admin.socket of the configuration).`,
    { cause },
  );
}

/** Made by the client: something answers at `where` that is not this API. */
export function answerNotUnderstood(where: string, what: string, cause?: unknown): CodedError {
  return new CodedError("ANSWER_NOT_UNDERSTOOD", `What answers at ${where} is not handoffd's API: ${what}.`, {
    cause,
  });
}
