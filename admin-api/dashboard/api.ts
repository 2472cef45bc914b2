/** The HTTP API as a browser asks it: same origin, the token in a header and nowhere else. */
import type { Problem } from "../schemas.ts";

/** What the daemon answered instead of doing it. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor({ status, code, detail }: Pick<Problem, "status" | "code" | "detail">) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** After so long without an answer the daemon is taken for gone. */
const PATIENCE_MS = 10_000;

export interface Answer<T> {
  readonly body: T;
  /** Of the header Date, in milliseconds since the epoch; null: there is none. */
  readonly serverMs: number | null;
}

export class Api {
  /** null: the caller is known by its connection, or not at all. */
  token: string | null;
  readonly #base: URL;

  /** `base`: where the page is; whatever is before it in a proxy's path stays. */
  constructor(base: URL, token: string | null) {
    this.#base = base;
    this.token = token;
  }

  /** `path` without a slash at its beginning. Throws a Refusal, or a TypeError when nobody answers. */
  async get<T>(path: string, signal?: AbortSignal): Promise<Answer<T>> {
    const response = await this.#ask("GET", path, {}, signal);
    const date = Date.parse(response.headers.get("date") ?? "");
    return { body: (await response.json()) as T, serverMs: Number.isNaN(date) ? null : date };
  }

  /** A change. `generation`: refuse it unless this one is still current. */
  async change<T>(
    method: "POST" | "PUT",
    path: string,
    body: unknown,
    generation: number | null,
  ): Promise<T> {
    const headers: Record<string, string> = { "content-type": "application/json", "idempotency-key": key() };
    if (generation !== null) headers["if-match"] = `"${generation}"`;
    const response = await this.#ask(method, path, { headers, body: JSON.stringify(body) });
    return (await response.json()) as T;
  }

  /** The events after `since`, in a body that does not end by itself. */
  async follow(since: number, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const headers = { accept: "text/event-stream", "last-event-id": String(since) };
    const response = await this.#ask("GET", "v1/events", { headers }, signal, null);
    if (response.body === null) throw new TypeError("the stream has no body");
    return response.body;
  }

  async #ask(
    method: string,
    path: string,
    { headers = {}, body }: { readonly headers?: Record<string, string>; readonly body?: string },
    signal?: AbortSignal,
    patienceMs: number | null = PATIENCE_MS,
  ): Promise<Response> {
    const signals = [
      ...(signal === undefined ? [] : [signal]),
      ...(patienceMs === null ? [] : [AbortSignal.timeout(patienceMs)]),
    ];
    const request = {
      method,
      headers: { ...headers, ...(this.token !== null && { authorization: `Bearer ${this.token}` }) },
      ...(body !== undefined && { body }),
      signal: AbortSignal.any(signals),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
    } as const;
    const response = await fetch(new URL(path, this.#base), request);
    if (response.ok) return response;
    throw new Refusal(problemOf(response.status, await response.text()));
  }
}

/** A proxy in between may answer with a page of its own. */
function problemOf(status: number, text: string): Pick<Problem, "status" | "code" | "detail"> {
  try {
    const { code, detail } = JSON.parse(text) as Partial<Problem>;
    if (code !== undefined && detail !== undefined) return { status, code, detail };
  } catch {
    // It is not JSON: then the status is all that is known.
  }
  return { status, code: "UNKNOWN", detail: `The answer was ${status}, and not the daemon's.` };
}

/** Not `randomUUID`, which a page without TLS does not have. */
function key(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
