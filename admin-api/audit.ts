/**
 * One line of the log for each request that asks for a change: who, from where, what, and what came of it. Reading
 * leaves none. Nothing is logged of a request but its method, its path and, from someone who was let in, its body:
 * headers have secrets in them.
 */
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from "fastify";

import { isChange, pathOf } from "./gate.ts";
import type { Caller } from "./operations.ts";

export interface Outcome {
  readonly caller: Caller | null;
  /** Of the problem that was answered; undefined: none was. */
  readonly code: string | undefined;
}

/** The body of a request that was refused for one of these is a stranger's. */
const STRANGERS = new Set([401, 403, 429]);
const LONGEST_BODY = 2048;

export function audit(
  log: FastifyBaseLogger,
  request: FastifyRequest,
  reply: FastifyReply,
  { caller, code }: Outcome,
): void {
  if (!isChange(request)) return;
  const { statusCode: status } = reply;
  log.info(
    {
      request: request.id,
      caller:
        caller === null ? { name: null, address: request.raw.socket.remoteAddress ?? null } : whoIs(caller),
      method: request.method,
      route: withoutTokens(pathOf(request)),
      ...(STRANGERS.has(status) ? {} : { body: brief(request.body) }),
      status,
      code,
      location: reply.getHeader("location"),
    },
    "change requested",
  );
}

function whoIs(caller: Caller): Readonly<Record<string, unknown>> {
  const { transport, name, role } = caller;
  if (caller.transport === "tcp") return { transport, name, role, address: caller.address };
  return { transport, name, role, uid: caller.uid, gid: caller.gid, pid: caller.pid };
}

/** What was asked for, as long as it is no more than a request needs. */
function brief(body: unknown): unknown {
  const text = JSON.stringify(body ?? null);
  return text.length <= LONGEST_BODY
    ? (JSON.parse(withoutTokens(text)) as unknown)
    : `(${text.length} characters)`;
}

/** Somebody will put a token where it does not belong. */
export function withoutTokens(text: string): string {
  return text.replace(/hd_[A-Za-z0-9_-]{16,}/gu, "hd_…");
}
