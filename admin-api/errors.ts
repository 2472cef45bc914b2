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

export function notAuthenticated(): CodedError {
  return new CodedError(
    "NOT_AUTHENTICATED",
    "Nothing says who asks. Send a token of the daemon's tokens file as Authorization: Bearer TOKEN, or a client certificate.",
  );
}

/** `why` never has the token in it. */
export function tokenRefused(why: string): CodedError {
  return new CodedError(
    "TOKEN_REFUSED",
    `Who asks is not known: ${why}. Ask the operator of the daemon for a token that is in force.`,
  );
}

export function forbidden(who: string, role: string | null, needed: string, what: string): CodedError {
  const held = role === null ? "no role" : `the role ${role}`;
  return new CodedError(
    "ROLE_FORBIDDEN",
    `${who} has ${held}, and ${what} needs the role ${needed}. Nothing was done. The roles are in the daemon's configuration (admin).`,
    { details: { role, needed } },
  );
}

export function serviceForbidden(
  who: string,
  allowed: readonly string[],
  service: string | null,
): CodedError {
  const what = service === null ? "this is about the whole daemon" : `${service} is not one of them`;
  return new CodedError(
    "SERVICE_FORBIDDEN",
    `${who} may change ${allowed.join(", ")} only, and ${what}. Nothing was done.`,
    { details: { service, allowed } },
  );
}

export function originForbidden(): CodedError {
  return new CodedError(
    "ORIGIN_FORBIDDEN",
    "A page of another site asks through a browser, which is never answered. Nothing was done.",
  );
}

export function hostNotServed(): CodedError {
  return new CodedError(
    "HOST_NOT_SERVED",
    "Without a token this address serves the host names localhost, 127.0.0.1 and [::1] only, so that no page of another site can reach it by a name of its own. Use one of them.",
  );
}

export function rateLimited(retryAfterS: number): CodedError {
  return new CodedError(
    "RATE_LIMITED",
    `Too many requests. Nothing was done. Try again in ${retryAfterS} s (Retry-After), and follow events instead of asking again and again.`,
    { details: { retryAfterS } },
  );
}

export function uriTooLong(limit: number): CodedError {
  return new CodedError("URI_TOO_LONG", `The address is longer than ${limit} bytes, the most that is read.`, {
    details: { limit },
  });
}

/** Of the tokens file. What stands in the line is left out on purpose: it may be a secret. */
export function tokensInvalid(file: string, line: number, why: string): CodedError {
  return new CodedError("TOKENS_INVALID", `${file}, line ${line}: ${why}. Nothing of the file is used.`, {
    details: { file, line },
  });
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
