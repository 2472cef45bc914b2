/**
 * What a script learns: 0 done · 1 it failed (stderr says what still holds) · 2 usage or configuration ·
 * 3 the daemon is not reachable · 4 conflict · 5 not allowed.
 */
import { ApiError } from "../admin-api/client.ts";
import { hasCode } from "../handoff/coded-error.ts";
import type { ExitCode } from "./session.ts";

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ApiError) return ofStatus(error.status);
  if (hasCode(error, "DAEMON_NOT_REACHABLE", "ANSWER_NOT_UNDERSTOOD")) return 3;
  if (hasCode(error, "SOCKET_NOT_ALLOWED")) return 5;
  if (hasCode(error, "DEPLOY_NOT_RUNNING")) return 4;
  if (hasCode(error, "REQUEST_INVALID", "TARGET_UNKNOWN", "FILE_UNREADABLE")) return 2;
  return 1;
}

function ofStatus(status: number): ExitCode {
  if (status === 401 || status === 403) return 5;
  if (status === 409 || status === 412 || status === 422) return 4;
  if (status === 503) return 3;
  return status < 500 ? 2 : 1;
}
