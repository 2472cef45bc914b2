/**
 * One instant query of a Prometheus, or of what answers like one: GET {url}/api/v1/query
 * (https://prometheus.io/docs/prometheus/latest/querying/api/). It is evaluated at the server's own time: what it has
 * scraped bears that clock, and a query for ours would miss it by their difference.
 *
 *   { "status": "success", "data": { "resultType": "vector", "result": [ { "metric": {…}, "value": [ 1767323045.1, "0.02" ] } ] } }
 *   { "status": "success", "data": { "resultType": "scalar", "result": [ 1767323045.1, "0.02" ] }, "warnings": [ "…" ] }
 *   { "status": "error", "errorType": "bad_data", "error": "invalid parameter \"query\": …" }
 */
import type { IncomingMessage } from "node:http";
import type { Reading } from "../../deploy/judgement.ts";
import { hasCode, messageOf } from "../../handoff/coded-error.ts";
import { late } from "../../handoff/late.ts";

const MAX_BODY_BYTES = 1024 * 1024;
/** Of what the server says itself: it may repeat the whole query. */
const MAX_SAID = 500;

export interface Query {
  /** http or https; a path in it is a prefix. */
  readonly url: string;
  readonly query: string;
  /** For the whole answer. */
  readonly timeoutMs: number;
}

export interface Answer {
  readonly reading: Reading;
  readonly warnings: readonly string[];
}

/**
 * Throws only the signal's reason, when that is aborted. Redirects are not followed: a configured server is the one that
 * is believed. When it returns or throws, its connection is closed.
 */
export async function queryPrometheus(query: Query, signal: AbortSignal): Promise<Answer> {
  signal.throwIfAborted();
  const work = new AbortController();
  const stop = (): void => work.abort();
  signal.addEventListener("abort", stop, { once: true });
  const timer = setTimeout(stop, query.timeoutMs);
  try {
    const { status, location, body } = await get(addressOf(query), work.signal);
    return parseAnswer(status, body, location);
  } catch (error) {
    signal.throwIfAborted();
    const late = `no answer from ${query.url} within ${query.timeoutMs} ms`;
    return unanswered(work.signal.aborted ? late : `${query.url} ${explain(error)}`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

/** What an answer says. Pure. */
export function parseAnswer(status: number, body: string, location: string | null = null): Answer {
  if (status >= 300 && status < 400) {
    const where = location === null ? "elsewhere" : `to ${cut(location)}`;
    return unanswered(`status ${status} leads ${where}, which is not followed; write the URL that answers`);
  }
  const answer = parseJson(body);
  if (answer === undefined) {
    return unanswered(
      status === 200 ? "what came is not JSON; is the URL that of a Prometheus?" : `status ${status}`,
    );
  }
  const said = property(answer, "status");
  if (said === "error") {
    return unanswered(cut(`${text(property(answer, "errorType"))}: ${text(property(answer, "error"))}`));
  }
  if (said !== "success") {
    return unanswered(status === 200 ? UNLIKE : `status ${status}`);
  }
  const warnings = property(answer, "warnings");
  return {
    reading: parseData(property(answer, "data")),
    warnings: Array.isArray(warnings) ? warnings.map((warning) => cut(text(warning))) : [],
  };
}

const UNLIKE = "what came is not an answer to a query; is the URL that of a Prometheus?";

function parseData(data: unknown): Reading {
  const type = property(data, "resultType");
  const result = property(data, "result");
  switch (type) {
    case "scalar":
      return toReading([sampleOf(result)]);
    case "vector":
      if (!Array.isArray(result)) return nothing(UNLIKE);
      return toReading(result.map((series) => sampleOf(property(series, "value"))));
    case "matrix":
      return nothing(
        "the query gives a range of values for each series; take one, as rate() or avg_over_time() do",
      );
    case "string":
      return nothing("the query gives a text, which is neither more nor less than a limit");
    default:
      return nothing(UNLIKE);
  }
}

function toReading(values: readonly (number | null)[]): Reading {
  const numbers = values.filter((value) => value !== null);
  if (numbers.length === values.length) return { kind: "values", values: numbers };
  // Such as a native histogram, which stands in the place of a value.
  return nothing("a series of the result has no number; take one, as histogram_quantile() does");
}

/** The number of `[ time, "number" ]`; null: it is none. */
function sampleOf(pair: unknown): number | null {
  const value: unknown = Array.isArray(pair) && pair.length === 2 ? pair[1] : null;
  if (typeof value !== "string") return null;
  if (value === "NaN") return NaN;
  const infinite = /^([+-]?)Inf$/u.exec(value);
  if (infinite !== null) return infinite[1] === "-" ? -Infinity : Infinity;
  const number = Number(value);
  return value.trim() === "" || !Number.isFinite(number) ? null : number;
}

function nothing(because: string): Reading {
  return { kind: "unanswered", because };
}

function unanswered(because: string): Answer {
  return { reading: nothing(because), warnings: [] };
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return undefined; // That it is none is the answer.
  }
}

function property(of: unknown, name: string): unknown {
  return typeof of === "object" && of !== null && Object.hasOwn(of, name)
    ? (of as Record<string, unknown>)[name]
    : undefined;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "not said";
}

function cut(said: string): string {
  return said.length > MAX_SAID ? `${said.slice(0, MAX_SAID)}…` : said;
}

function addressOf({ url, query, timeoutMs }: Query): URL {
  const address = new URL(`${url.replace(/\/+$/u, "")}/api/v1/query`);
  // It need not go on with what nobody waits for any more.
  address.search = new URLSearchParams({ query, timeout: `${timeoutMs}ms` }).toString();
  return address;
}

interface Response {
  readonly status: number;
  readonly location: string | null;
  readonly body: string;
}

/** On a connection of its own, which is closed at the end, whatever the end is. */
function get(address: URL, signal: AbortSignal): Promise<Response> {
  return new Promise<Response>((resolve, reject) => {
    const { request } = address.protocol === "https:" ? late.https : late.http;
    const headers = { accept: "application/json", "user-agent": "handoffd" };
    const asked = request(address, { agent: false, headers, signal }, (response) => {
      collect(response)
        .then(resolve, reject)
        .finally(() => asked.destroy());
    });
    asked.on("error", reject);
    asked.end();
  });
}

function collect(response: IncomingMessage): Promise<Response> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) reject(new Error(`answered with more than ${MAX_BODY_BYTES} bytes`));
      else chunks.push(chunk);
    });
    response.on("error", reject);
    response.on("end", () => {
      const { statusCode = 0, headers } = response;
      resolve({
        status: statusCode,
        location: headers.location ?? null,
        body: Buffer.concat(chunks).toString(),
      });
    });
  });
}

function explain(error: unknown): string {
  if (hasCode(error, "ECONNREFUSED")) return "refused the connection";
  if (hasCode(error, "ECONNRESET", "EPIPE")) return "closed the connection before the answer was whole";
  if (hasCode(error, "ENOTFOUND", "EAI_AGAIN")) return "is not known by that name";
  return messageOf(error).startsWith("answered") ? messageOf(error) : `cannot be asked: ${messageOf(error)}`;
}
