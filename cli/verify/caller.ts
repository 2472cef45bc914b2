/** A client of a listener that speaks no HTTP, or none that is known: it connects, waits a moment, and leaves. */
import { connect, type Socket } from "node:net";
import { pause } from "../../daemon/generation/ending.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import { connectPinned } from "../../handoff/pin.ts";
import type { Where } from "./ask.ts";

const CONNECT_MS = 10_000;
const HOLD_MS = 50;

export interface Call {
  /** null: it came about, and was not reset. */
  readonly lost: "refused" | "reset" | null;
  readonly code: string | null;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly connectMs: number;
}

/** Never rejects. That the application closes first is its right, and no loss. */
export async function call(where: Where, signal: AbortSignal): Promise<Call> {
  const startedAt = Date.now();
  const said = (lost: Call["lost"], error: unknown, connectedAt = Date.now()): Call => {
    const code = hasSomeCode(error) ? error.code : null;
    return { lost, code, startedAt, endedAt: Date.now(), connectMs: connectedAt - startedAt };
  };
  let socket: Socket;
  try {
    socket = await open(where);
  } catch (error) {
    return said("refused", error);
  }
  const connectedAt = Date.now();
  const closed = new AbortController();
  let failure: unknown = null;
  socket.on("error", (error) => (failure = error));
  socket.once("close", () => closed.abort());
  socket.resume();
  await pause(HOLD_MS, AbortSignal.any([signal, closed.signal]));
  socket.destroy();
  return hasCode(failure, "ECONNRESET")
    ? said("reset", failure, connectedAt)
    : said(null, failure, connectedAt);
}

function open(where: Where): Promise<Socket> {
  if ("path" in where && where.path.startsWith("\0")) {
    return connectPinned({ kind: "unix", path: where.path }, CONNECT_MS);
  }
  return new Promise((resolve, reject) => {
    const socket = connect({ ...where });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

function hasSomeCode(error: unknown): error is Error & { code: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}
