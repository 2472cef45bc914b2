/** One request by HTTP/1.1, and what became of it as its client saw it. */
import { Agent, request } from "node:http";
import type { Duplex } from "node:stream";
import { connect, type Socket } from "node:net";
import { hasCode } from "../../handoff/coded-error.ts";
import { connectPinned } from "../../handoff/pin.ts";
import type { LossKind } from "./observations.ts";

/** Where a client connects to. An abstract socket's path begins with a NUL byte. */
export type Where = { readonly host: string; readonly port: number } | { readonly path: string };

export interface Asked {
  /** "abandoned": the client itself gave up, because it was told to end. */
  readonly fate: "answered" | "abandoned" | Exclude<LossKind, "late" | "status">;
  readonly status: number | null;
  readonly code: string | null;
  readonly startedAt: number;
  readonly endedAt: number;
  /** To the head of the answer. */
  readonly headMs: number;
  /** When the connection came about. */
  readonly openedAt: number;
  /** The application keeps the connection. */
  readonly isKept: boolean;
}

const CONNECT_MS = 10_000;

/** A client's connection to one place: one at a time, kept until `destroy` or until the application closes it. */
export class Connections extends Agent {
  readonly #where: Where;
  readonly #opened = new WeakMap<Duplex, number>();
  readonly #onOpen: (socket: Duplex) => void;

  constructor(where: Where, isKept: boolean, onOpen: (socket: Duplex) => void = () => undefined) {
    // Node keeps connections where their number is limited, whatever keepAlive says.
    super({ keepAlive: isKept, maxSockets: isKept ? 1 : Infinity });
    this.#where = where;
    this.#onOpen = onOpen;
  }

  /** @internal */
  override createConnection(
    _options: unknown,
    done?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    if (!("path" in this.#where && this.#where.path.startsWith("\0"))) {
      return this.#open(connect({ ...this.#where }));
    }
    connectPinned({ kind: "unix", path: this.#where.path }, CONNECT_MS).then(
      (socket) => done?.(null, this.#open(socket)),
      (error: unknown) => done?.(error as Error, undefined as never),
    );
    return undefined;
  }

  /** Kept for as long as the application does, whatever it hints at: who closes first is what is to be seen. */
  override keepSocketAlive(): boolean {
    return true;
  }

  openedAt(socket: Duplex | null): number | null {
    return socket === null ? null : (this.#opened.get(socket) ?? null);
  }

  #open(socket: Socket): Socket {
    this.#opened.set(socket, Date.now());
    this.#onOpen(socket);
    return socket;
  }
}

/** Never rejects. `answerMs`: for so long it may be silent, before the head and within the answer. */
export function ask(
  connections: Connections,
  path: string,
  answerMs: number,
  signal: AbortSignal,
): Promise<Asked> {
  return new Promise((resolve) => {
    const startedAt = Date.now();
    let headAt: number | null = null;
    let status: number | null = null;
    let socket: Duplex | null = null;
    let isSilent = false;
    const asked = request({
      agent: connections,
      path,
      headers: { host: "localhost", "user-agent": "handoffd-verify" },
    });
    const end = (fate: Asked["fate"], code: string | null = null): void => {
      clearTimeout(silence);
      signal.removeEventListener("abort", abandon);
      const endedAt = Date.now();
      const openedAt = connections.openedAt(socket) ?? startedAt;
      const isKept = fate === "answered" && asked.shouldKeepAlive;
      const headMs = (headAt ?? endedAt) - startedAt;
      resolve({ fate, status, code, startedAt, endedAt, headMs, openedAt, isKept });
    };
    const abandon = (): void => void asked.destroy();
    const fail = (error: unknown): void => {
      if (signal.aborted) end("abandoned");
      else if (isSilent) end(headAt === null ? "unanswered" : "cut", null);
      else end(fateOf(error, headAt !== null, asked.reusedSocket, socket), codeOf(error));
    };
    const silence = setTimeout(() => {
      isSilent = true;
      asked.destroy();
    }, answerMs);
    signal.addEventListener("abort", abandon, { once: true });
    asked.once("socket", (given) => (socket = given));
    asked.once("error", fail);
    asked.once("response", (response) => {
      headAt = Date.now();
      status = response.statusCode ?? null;
      response.on("data", () => silence.refresh());
      response.once("end", () => end("answered"));
      response.once("error", fail);
    });
    if (signal.aborted) abandon();
    asked.end();
  });
}

function fateOf(
  error: unknown,
  hasHead: boolean,
  isReused: boolean,
  socket: Duplex | null,
): Exclude<Asked["fate"], "answered"> {
  // What is no HTTP counts as an answer that broke off: the parser's codes.
  if (hasHead || codeOf(error)?.startsWith("HPE_") === true) return "cut";
  if (isReused) return "reuse";
  // A connection that came about has a peer; of an abstract socket without one no stream is given at all.
  const isConnected = socket !== null && !hasCode(error, "ECONNREFUSED", "ENOENT", "EAGAIN", "ETIMEDOUT");
  return isConnected ? "reset" : "refused";
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}
