/** One HTTP request from a pin address through the real listener: what verification and readiness are made of. */
import type { Socket } from "node:net";
import { hasCode, messageOf } from "../../handoff/coded-error.ts";
import { late } from "../../handoff/late.ts";
import type { ProbeTarget } from "../../handoff/listener.ts";
import { connectPinned } from "../../handoff/pin.ts";

/** The status of the answer, read to its end. Throws an Error with a sentence when there is none in time. */
export async function probeHttp(
  target: ProbeTarget,
  path: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number> {
  const deadline = AbortSignal.timeout(Math.max(1, timeoutMs));
  try {
    const socket = await connectPinned(target, Math.max(1, timeoutMs));
    return await ask(socket, path, AbortSignal.any([signal, deadline]));
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.aborted || hasCode(error, "HANDOFF_TIMEOUT")) {
      throw new Error(`no answer within ${timeoutMs} ms`, { cause: error });
    }
    throw new Error(explain(error), { cause: error });
  }
}

/** The socket is closed at the end, whatever the end is. */
function ask(socket: Socket, path: string, signal: AbortSignal): Promise<number> {
  return new Promise<number>((resolve, reject) => {
    const asked = late.http.request(
      {
        createConnection: () => socket,
        path,
        headers: { host: "localhost", "user-agent": "handoffd", connection: "close" },
        signal,
      },
      (response) => {
        response.on("error", reject);
        response.on("end", () => resolve(response.statusCode ?? 0));
        response.resume();
      },
    );
    asked.on("error", reject);
    asked.end();
  }).finally(() => socket.destroy());
}

function explain(error: unknown): string {
  if (hasCode(error, "ECONNREFUSED")) return "the connection was refused";
  if (hasCode(error, "ECONNRESET")) return "the connection was closed without an answer";
  return messageOf(error);
}
