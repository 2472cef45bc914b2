/** What a script learns. */
import { ApiError } from "../admin-api/client.ts";
import { hasCode } from "../handoff/coded-error.ts";
import type { ExitCode } from "./session.ts";

/** Of handoffctl. With 1 stderr says what still holds. */
export const EXIT_CODES = [
  [0, "done"],
  [1, "it failed"],
  [2, "usage or configuration"],
  [3, "daemon not reachable"],
  [4, "conflict (a deploy is running)"],
  [5, "not allowed"],
  [130, "stopped waiting (Ctrl-C); the deploy goes on"],
] as const;

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
