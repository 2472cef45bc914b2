/**
 * From an error to what the caller gets: RFC 9457, `application/problem+json`, with our stable code.
 *
 * One table for every code of every room; docs/errors.md is compared with it by a test. A code that is not here
 * is a failure that nobody has thought through as an answer, so it is a 500.
 */
import { STATUS_CODES } from "node:http";

import type { FastifyError, FastifyRequest } from "fastify";

import type { CodedError } from "../handoff/coded-error.ts";
import { bodyTooLarge, mediaTypeUnsupported, requestInvalid } from "./errors.ts";
import type { Problem } from "./schemas.ts";
import { sentenceOf } from "./validation.ts";

export interface ProblemKind {
  readonly status: number;
  readonly title: string;
}

export const PROBLEMS: Readonly<Record<string, ProblemKind>> = {
  // The API itself.
  REQUEST_INVALID: { status: 400, title: "The request is not valid" },
  NOT_AUTHENTICATED: { status: 401, title: "Nothing says who asks" },
  TOKEN_REFUSED: { status: 401, title: "The credential is not accepted" },
  ROLE_FORBIDDEN: { status: 403, title: "Not allowed" },
  SERVICE_FORBIDDEN: { status: 403, title: "Not allowed for this service" },
  ORIGIN_FORBIDDEN: { status: 403, title: "Not allowed for other sites" },
  SERVICE_UNKNOWN: { status: 404, title: "Unknown service" },
  LISTENER_UNKNOWN: { status: 404, title: "Unknown listener" },
  GENERATION_UNKNOWN: { status: 404, title: "Unknown generation" },
  DEPLOY_UNKNOWN: { status: 404, title: "Unknown deploy" },
  ROUTE_UNKNOWN: { status: 404, title: "Unknown resource" },
  METHOD_NOT_ALLOWED: { status: 405, title: "Method not allowed" },
  GENERATION_STALE: { status: 412, title: "The current generation has changed" },
  BODY_TOO_LARGE: { status: 413, title: "The body is too large" },
  URI_TOO_LONG: { status: 414, title: "The address is too long" },
  MEDIA_TYPE_UNSUPPORTED: { status: 415, title: "Unsupported media type" },
  IDEMPOTENCY_KEY_REUSED: { status: 422, title: "Idempotency-Key used for another request" },
  HOST_NOT_SERVED: { status: 421, title: "The host name is not served here" },
  RATE_LIMITED: { status: 429, title: "Too many requests" },
  INTERNAL: { status: 500, title: "Internal error" },

  // What a deploy refuses.
  DEPLOY_IN_PROGRESS: { status: 409, title: "A deploy is running" },
  DEPLOY_ALREADY_ENDED: { status: 409, title: "The deploy has ended" },
  DEPLOY_TOO_LATE: { status: 409, title: "The deploy is past the point of going back" },
  DEPLOY_ROLLING_BACK: { status: 409, title: "The deploy is going back already" },
  DEPLOY_NOT_SHIFTED: { status: 409, title: "The deploy has not moved any traffic" },
  DEPLOY_NO_WAY_BACK: { status: 409, title: "There is no generation to go back to" },
  NO_PREVIOUS_RELEASE: { status: 409, title: "There is no release to go back to" },

  NOTHING_TO_HOLD: { status: 409, title: "Nothing serves that could be held" },
  SERVICE_HELD: { status: 409, title: "The service is held" },
  NOT_HELD: { status: 409, title: "The service is not held" },
  NOTHING_TO_SCALE: { status: 409, title: "Nothing serves that could be scaled" },
  SCALE_INVALID: { status: 400, title: "The number of instances is not valid" },

  // What the daemon refuses, and what can fail when it acts.
  VERSION_MISSING: { status: 400, title: "No version was given" },
  VERSION_INVALID: { status: 400, title: "The version is not valid" },
  DIRECTORY_MISSING: { status: 400, title: "The version is not installed" },
  VALUE_INVALID: { status: 400, title: "A value is not valid" },
  TOKENS_INVALID: { status: 400, title: "The tokens file is not valid" },
  TOKENS_UNREADABLE: { status: 500, title: "The tokens file cannot be read" },
  TLS_UNUSABLE: { status: 500, title: "The certificate or its key cannot be used" },
  ADDRESS_INVALID: { status: 400, title: "The address is not valid" },
  ADDRESS_UNSUPPORTED: { status: 400, title: "The address is not supported" },
  CONFIG_INVALID: { status: 400, title: "The configuration is not valid" },
  CONFIG_UNREADABLE: { status: 500, title: "The configuration cannot be read" },
  ENVIRONMENT_FILE_INVALID: { status: 500, title: "The environment file is not valid" },
  ENVIRONMENT_FILE_UNREADABLE: { status: 500, title: "The environment file cannot be read" },
  ACCOUNT_UNKNOWN: { status: 500, title: "The service's user or group does not exist" },
  DEPLOY_STEPS_UNUSABLE: { status: 400, title: "The steps cannot be used" },
  STRATEGY_NEEDS_STEERING: { status: 400, title: "The listener cannot do what the strategy needs" },
  GENERATION_IN_USE: { status: 409, title: "The generation is in use" },
  SERVICE_NOT_RUNNING: { status: 409, title: "The service is not running" },
  SERVICE_LEAVING: { status: 409, title: "The service is being removed" },
  RELOAD_REFUSED: { status: 409, title: "The change cannot be made while the daemon runs" },
  RELOAD_IN_PROGRESS: { status: 409, title: "The configuration is being read again already" },
  RELOAD_WITHOUT_FILE: { status: 409, title: "The daemon has no configuration file" },
  DAEMON_STOPPING: { status: 503, title: "The daemon is stopping" },
  DAEMON_ALREADY_RUNS: { status: 500, title: "Another daemon runs" },
  DIRECTORY_UNUSABLE: { status: 500, title: "A directory cannot be used" },
  STATE_NOT_WRITTEN: { status: 500, title: "The state cannot be written" },
  UPGRADE_REFUSED: { status: 500, title: "The daemon was not upgraded" },
  UPGRADE_IN_PROGRESS: { status: 409, title: "An upgrade is running" },
  UPGRADE_FAILED: { status: 500, title: "The daemon could not be replaced" },
  UPGRADE_STATE_UNREADABLE: { status: 500, title: "The state of the daemon before cannot be read" },
  SNAPSHOT_UNREADABLE: { status: 500, title: "The saved state cannot be read" },
  INSTANCE_EXITED: { status: 500, title: "An instance has exited" },
  EXTERNAL_NOT_COME: { status: 500, title: "Nobody has started an instance" },
  EXTERNAL_START_FAILED: { status: 500, title: "An instance could not be asked for" },
  EXTERNAL_STOP_FAILED: { status: 500, title: "The end of an instance could not be asked for" },
  EXTERNAL_NOT_PERMITTED: { status: 500, title: "An instance cannot be signalled" },
  EXTERNAL_REFUSED: { status: 403, title: "Not allowed at the handoff socket" },
  EXTERNAL_NO_SOCKET: { status: 500, title: "The service has no handoff socket" },
  EXTERNAL_NO_COMMAND: { status: 500, title: "The service has no command" },
  HANDOFF_SOCKET_IN_USE: { status: 500, title: "Another process has the handoff socket" },
  READY_TIMEOUT: { status: 500, title: "An instance was not ready in time" },
  GENERATION_NOT_ACCEPTING: { status: 500, title: "A generation does not accept connections" },
  VERIFICATION_FAILED: { status: 500, title: "Verification failed" },

  // What can fail while descriptors move.
  HANDOFF_VIOLATION: { status: 500, title: "A process broke the handoff protocol" },
  HANDOFF_DESCRIPTORS_LOST: { status: 500, title: "Descriptors were lost on the way" },
  HANDOFF_PEER_GONE: { status: 500, title: "The process at the other end is gone" },
  HANDOFF_TIMEOUT: { status: 500, title: "The handoff took too long" },
  HANDOFF_IDENTITY_MISMATCH: { status: 500, title: "Another descriptor arrived than was sent" },
  LAUNCH_FAILED: { status: 500, title: "A process could not be started" },
  LISTENER_ADDRESS_IN_USE: { status: 409, title: "The address is in use" },
  LISTENER_CANNOT_OPEN: { status: 500, title: "The address cannot be listened on" },
  LISTENER_NOT_INHERITED: { status: 500, title: "systemd did not give the socket" },
  LISTENER_FOREIGN_MEMBER: { status: 409, title: "Another process listens on the address" },
  LISTENER_SLOT_NOT_PROVED: { status: 500, title: "A slot is not where it should be" },
  JOURNAL_UNREACHABLE: { status: 500, title: "The journal cannot be written to" },
  KEEPER_FULL: { status: 500, title: "The keeper is full" },
  KEEPER_FAILED: { status: 500, title: "The keeper failed" },
};

export const PROBLEM_TYPE = "application/problem+json";

/** Coded errors come from any room, from a second copy of the module too: known by their shape. */
function isCoded(error: unknown): error is CodedError {
  return error instanceof Error && "code" in error && typeof error.code === "string" && "details" in error;
}

/** What Fastify refuses before a route is reached, in our words. Anything else as it came. */
export function translate(error: unknown, request: FastifyRequest, bodyLimit: number): unknown {
  if (!(error instanceof Error) || isCoded(error)) return error;
  const { code, statusCode, validation, validationContext } = error as Partial<FastifyError>;
  if (validation !== undefined) {
    return requestInvalid(sentenceOf(validation, validationContext ?? "body"), {
      place: validation.at(-1)?.instancePath,
    });
  }
  switch (code) {
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return mediaTypeUnsupported(request.headers["content-type"]);
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return bodyTooLarge(bodyLimit);
    case "FST_ERR_CTP_INVALID_JSON_BODY":
      return requestInvalid("The body is not JSON.");
    case undefined:
      // The JSON parser's own.
      return error instanceof SyntaxError ? requestInvalid(`The body is not JSON: ${error.message}.`) : error;
    default:
      return statusCode !== undefined && statusCode >= 400 && statusCode < 500
        ? requestInvalid(error.message)
        : error;
  }
}

/** `reference` is the request's id: it is what leads from a 500 to the line in the log. */
export function problemOf(error: unknown, reference: string): Problem {
  if (!isCoded(error)) {
    const detail = `The daemon failed in a way that was not foreseen. Its log has the error under "${reference}".`;
    return problem("INTERNAL", detail, reference);
  }
  return problem(error.code, error.message, reference);
}

function problem(code: string, detail: string, reference: string): Problem {
  const { status, title } = PROBLEMS[code] ?? { status: 500, title: STATUS_CODES[500] ?? "" };
  return { type: `urn:handoffd:error:${code}`, title, status, detail, code, instance: reference };
}
