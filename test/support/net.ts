/** Single requests and raw connections, for looking at one thing. For counting losses there is load.ts. */
import { once } from "node:events";
import { connect, type NetConnectOpts, type Socket } from "node:net";

/** Where to: {host, port} or the path of a unix socket. */
export type Where = { readonly host: string; readonly port: number } | { readonly path: string };

export interface AskOptions {
  /** The address to come from: a pin, for example 127.77.0.2. */
  readonly source?: string;
  readonly path?: string;
  readonly method?: string;
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** x-version, x-generation and x-instance; null where the application does not say them. */
  readonly version: string | null;
  readonly generation: number | null;
  readonly pid: number | null;
}

function open(where: Where, source: string | undefined): Socket {
  const options: NetConnectOpts =
    "path" in where ? { path: where.path } : { host: where.host, port: where.port };
  return connect(source === undefined ? options : { ...options, localAddress: source });
}

function toRequest({ method = "GET", path = "/" }: AskOptions): string {
  return `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
}

/** One request on a new connection. Throws the socket's error (`code`), or EOF or ETIMEDOUT of its own. */
export async function ask(where: Where, options: AskOptions = {}): Promise<Answer> {
  return await speak(open(where, options.source), options);
}

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

async function speak(socket: Socket, options: AskOptions): Promise<Answer> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const abort = AbortSignal.timeout(timeoutMs);
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (data: string) => void (text += data));
  try {
    socket.write(toRequest(options));
    await once(socket, "end", { signal: abort });
  } catch (error) {
    if (abort.aborted) throw failure("ETIMEDOUT", `no whole answer after ${timeoutMs} ms`);
    throw error;
  } finally {
    socket.destroy();
  }
  return parse(text);
}

function parse(text: string): Answer {
  const split = text.indexOf("\r\n\r\n");
  if (split < 0) throw failure("EOF", `closed before an answer: ${JSON.stringify(text)}`);
  const [first = "", ...lines] = text.slice(0, split).split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const rest = text.slice(split + 4);
  const body = headers["transfer-encoding"] === "chunked" ? dechunk(rest) : rest;
  if (headers["content-length"] !== undefined && Number(headers["content-length"]) !== body.length) {
    throw failure("EOF", `closed in the middle of the body: ${JSON.stringify(text)}`);
  }
  const number = (name: string): number | null =>
    headers[name] === undefined ? null : Number(headers[name]);
  return {
    status: Number(first.split(" ")[1]),
    headers,
    body,
    version: headers["x-version"] ?? null,
    generation: number("x-generation"),
    pid: number("x-instance"),
  };
}

function dechunk(text: string): string {
  let body = "";
  for (let rest = text; ;) {
    const line = rest.indexOf("\r\n");
    const size = Number.parseInt(rest.slice(0, Math.max(0, line)), 16);
    if (Number.isNaN(size)) throw failure("EOF", "closed in the middle of the chunks");
    if (size === 0) return body;
    body += rest.slice(line + 2, line + 2 + size);
    rest = rest.slice(line + 2 + size + 2);
  }
}

export interface CountOptions extends AskOptions {
  /** Requests at a time. Default 16. */
  readonly concurrency?: number;
  /** A source address for the n-th connection (sticky steering). Wins over `source`. */
  readonly sourceOf?: (index: number) => string;
}

/** Asks `n` times, each on a connection of its own, and counts who answered, by generation ("null": nobody said). */
export async function countConnections(
  n: number,
  where: Where,
  options: CountOptions = {},
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < n) {
      const index = next++;
      const source = options.sourceOf?.(index) ?? options.source;
      const answer = await ask(where, source === undefined ? options : { ...options, source });
      const key = String(answer.generation);
      counts[key] = (counts[key] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: Math.min(n, options.concurrency ?? 16) }, worker));
  return counts;
}

/**
 * Clients that connect and say nothing. On a listener with TCP_DEFER_ACCEPT their handshakes stay half-open
 * (SYN_RECV) until `speak`; on another one they wait in its queue or at the application.
 */
export class SilentClients implements Disposable {
  readonly #sockets: readonly Socket[];

  private constructor(sockets: readonly Socket[]) {
    this.#sockets = sockets;
  }

  /** Resolves when all are connected as far as the clients can see. */
  static async open(
    n: number,
    where: Where,
    options: { readonly source?: string } = {},
  ): Promise<SilentClients> {
    const sockets = Array.from({ length: n }, () => open(where, options.source));
    // What happens to them before they speak is told when they speak.
    for (const socket of sockets) socket.on("error", () => undefined);
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    return new SilentClients(sockets);
  }

  /** Every client asks now. What came of it, in order: an answer, or the code of the error. */
  speak(options: AskOptions = {}): Promise<(Answer | string)[]> {
    return Promise.all(
      this.#sockets.map(async (socket) => {
        if (socket.destroyed) return socket.errored === null ? "EOF" : codeOf(socket.errored);
        try {
          return await speak(socket, options);
        } catch (error) {
          return codeOf(error);
        }
      }),
    );
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** The `code` of an error, or its text. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
