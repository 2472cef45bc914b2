/** One HTTP request from a pin address through the real listener: what verification and readiness are made of. */
import { request } from "node:http";
import { hasCode, messageOf } from "../handoff/coded-error.ts";
import type { ProbeTarget } from "../handoff/listener.ts";

/** The status of the answer, read to its end. Throws an Error with a sentence when there is none in time. */
export async function probeHttp(
  target: ProbeTarget,
  path: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number> {
  if (target.kind === "unix") return send({ socketPath: target.path }, path, timeoutMs, signal);
  const { host, port, source, sourcePorts } = target;
  if (sourcePorts.length === 0) return send({ host, port, localAddress: source }, path, timeoutMs, signal);
  let failure: unknown = null;
  for (const localPort of sourcePorts) {
    try {
      return await send({ host, port, localAddress: source, localPort }, path, timeoutMs, signal);
    } catch (error) {
      if (!hasCode(error, "EADDRINUSE", "EADDRNOTAVAIL")) throw error;
      failure = error; // Another probe has this source port: the next one will do.
    }
  }
  throw failure;
}

type Way =
  | { readonly socketPath: string }
  | {
      readonly host: string;
      readonly port: number;
      readonly localAddress: string;
      readonly localPort?: number;
    };

function send(way: Way, path: string, timeoutMs: number, signal: AbortSignal): Promise<number> {
  const deadline = AbortSignal.timeout(Math.max(1, timeoutMs));
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      if (signal.aborted) reject(signal.reason as Error);
      else if (deadline.aborted) reject(new Error(`no answer within ${timeoutMs} ms`));
      else if (hasCode(error, "EADDRINUSE", "EADDRNOTAVAIL")) reject(error);
      else reject(new Error(explain(error), { cause: error }));
    };
    const asked = request(
      {
        ...way,
        path,
        agent: false,
        headers: { "user-agent": "handoffd", connection: "close" },
        signal: AbortSignal.any([signal, deadline]),
      },
      (response) => {
        response.on("error", fail);
        response.on("end", () => resolve(response.statusCode ?? 0));
        response.resume();
      },
    );
    asked.on("error", fail);
    asked.end();
  });
}

function explain(error: unknown): string {
  if (hasCode(error, "ECONNREFUSED")) return "the connection was refused";
  if (hasCode(error, "ECONNRESET")) return "the connection was closed without an answer";
  return messageOf(error);
}
