// Requests that nobody would send, to a real daemon by its unix socket and by TCP: valid ones, nearly valid ones, and
// bytes that are not HTTP. Whoever sends them may do everything, but the service's name is not among what is generated,
// so that nothing of it can be meant: the status must be the same at the end. No answer is a 500, each request is
// answered or its connection closed within five seconds, and the daemon's memory does not grow.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { disposing } from "../support/child.mjs";
import { startDaemon } from "../support/daemon.mjs";

const REQUESTS = 40_000;
const QUICK = 2_500;
const AT_ONCE = 16;
const PATIENCE_MS = 5_000;
/** Each may change 50 things a second. */
const CALLERS = 64;
/**
 * The least memory that the daemon had in the second quarter of the requests is compared with the least in the last one:
 * in between the collector comes and goes.
 */
const GROWTH_MIB = 12;

const word = fc.oneof(
  fc.constantFrom(
    "apo",
    "x",
    "",
    "..",
    "%2e%2e",
    "%00",
    "%zz",
    "a".repeat(300),
    "3",
    "-1",
    "d-1",
    "constructor",
    "__proto__",
  ),
  fc.string({ maxLength: 20 }).map(encodeURIComponent),
  fc.constantFrom("services", "api-", "deploys", "~", "a%20b", "%F0%9F%98%80"),
);
const verb = fc.constantFrom(
  "deploys",
  "rollback",
  "restart",
  "hold",
  "resume",
  "scale",
  "promote",
  "abort",
  "pause",
  "continue",
  "events",
  "generations/3",
);
const path = fc.oneof(
  fc.constantFrom(
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/status",
    "/v1/listeners",
    "/v1/services",
    "/",
    "*",
    "//",
    "/v1/",
    "http://x/v1/status",
  ),
  fc
    .tuple(fc.constantFrom("services", "deploys", "listeners"), word, verb)
    .map(([kind, name, act]) => `/v1/${kind}/${name}/${act}`),
  fc
    .tuple(fc.constantFrom("services", "deploys", "listeners"), word)
    .map(([kind, name]) => `/v1/${kind}/${name}`),
  fc
    .array(fc.oneof(word, fc.string({ unit: "binary", maxLength: 12 })), { maxLength: 6 })
    .map((words) => `/${words.join("/")}`),
  fc.integer({ min: 3000, max: 20_000 }).map((length) => `/${"y".repeat(length)}`),
);
const parameter = fc.tuple(
  fc.constantFrom("service", "limit", "before", "wait", "since", "follow", "x", "__proto__"),
  fc.oneof(fc.constantFrom("1", "0", "-1", "20", "1e9", "true", "false", "10ms", "99h", ""), word),
);
const query = fc.array(parameter, { maxLength: 3 }).map((pairs) => {
  // A stream that follows never ends, and a wait may take its time: both are asked for elsewhere.
  const text = pairs.map((pair) => pair.join("=")).join("&");
  return text === "" ? "" : `?${text}`;
});
const json = fc.oneof(
  fc.constantFrom(
    "{}",
    "[]",
    "null",
    "{",
    '{"version":"42"}',
    '{"version":"../x"}',
    '{"instances":3}',
    '{"idle":true}',
    '{"__proto__":{}}',
    '{"constructor":{"prototype":{}}}',
  ),
  fc.json({ maxDepth: 4 }),
  fc
    .record(
      { version: fc.anything(), strategy: fc.anything(), steps: fc.anything(), bake: fc.anything() },
      { requiredKeys: [] },
    )
    .map((value) => JSON.stringify(value) ?? ""),
  fc.integer({ min: 60_000, max: 80_000 }).map((length) => JSON.stringify({ version: "v".repeat(length) })),
  fc.integer({ min: 10, max: 20_000 }).map((depth) => "[".repeat(depth)),
);
const header = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.tuple(
      fc.constantFrom(
        "If-Match",
        "Idempotency-Key",
        "Last-Event-ID",
        "Accept",
        "Host",
        "Origin",
        "Sec-Fetch-Site",
        "Expect",
        "Connection",
        "Upgrade",
        "Transfer-Encoding",
        "Content-Length",
        "Range",
        "Authorization",
      ),
      fc.oneof(
        fc.constantFrom(
          "*",
          '"1"',
          "100-continue",
          "chunked",
          "websocket",
          "close",
          "-1",
          "0",
          "99999999999",
          "null",
          "cross-site",
          "Bearer x",
        ),
        fc.string({ maxLength: 40 }),
      ),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.string({ minLength: 1, maxLength: 10 }),
      fc.string({ unit: "binary", maxLength: 40 }),
    ),
  },
  { weight: 1, arbitrary: fc.constant(["X-Long", "z".repeat(17_000)]) },
);
const http = fc.record({
  kind: fc.constant("http"),
  method: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS") },
    fc.string({ maxLength: 8 }),
  ),
  path,
  query,
  headers: fc.array(header, { maxLength: 3 }),
  type: fc.constantFrom(
    "application/json",
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "application/xml",
    null,
  ),
  body: fc.option(json, { nil: null }),
});
const raw = fc.record({
  kind: fc.constant("raw"),
  bytes: fc.oneof(
    fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
    fc
      .constantFrom(
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
        "POST /v1/services/apo/deploys HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        "POST /v1/services/apo/deploys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /v1/status HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\n Host: localhost\r\n\r\n",
        "GET /v1/status HTTP/1.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\r\n\r\n\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50),
      )
      .map((text) => Buffer.from(text, "latin1")),
    fc.tuple(http, fc.nat(200)).map(([request, length]) => bytesOf(request, "").subarray(0, length)),
  ),
});
const requests = fc.record({
  by: fc.constantFrom("unix", "tcp"),
  request: fc.oneof({ weight: 4, arbitrary: http }, raw),
});

function bytesOf({ method, path: at, query: asked, headers, type, body }, authorization) {
  const lines = [
    `${method} ${at}${/follow=false|wait=/u.test(asked) || !at.endsWith("/events") ? asked : `${asked}${asked === "" ? "?" : "&"}follow=false`} HTTP/1.1`,
    ...(headers.some(([name]) => name === "Host") ? [] : ["Host: localhost"]),
    ...(authorization === "" || headers.some(([name]) => name === "Authorization")
      ? []
      : [`Authorization: ${authorization}`]),
    ...(type === null ? [] : [`Content-Type: ${type}`]),
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(body === null ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    "Connection: close",
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body ?? ""}`, "utf8");
}

/** Resolves to the statuses that came, [] for a connection that was closed without one, null when nothing happened. */
function send(target, bytes) {
  return new Promise((resolve) => {
    const socket = connect(target);
    let text = "";
    const timer = setTimeout(() => end(null), PATIENCE_MS);
    const end = (result) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const statuses = () =>
      [...text.matchAll(/(?:^|\n)HTTP\/1\.[01] (\d{3}) /gu)].map(([, status]) => Number(status));
    socket.setEncoding("latin1").on("data", (chunk) => (text += chunk));
    socket.on("error", () => undefined); // Its end is what counts.
    socket.on("close", () => end(statuses()));
    // What is cut short is cut short: the other end learns that nothing follows.
    socket.end(bytes);
  });
}

/** What may not have changed. */
function standing({ listeners, services }) {
  const still = services.map(({ name, state, current, candidate, previous, deploy, held, generations }) => {
    const states = generations.map(({ number, version, state: each, weight, instances }) => [
      number,
      version,
      each,
      weight,
      instances,
    ]);
    return { name, state, current, candidate, previous, deploy, held, states };
  });
  return { listeners, services: still };
}

function rssMiB(pid) {
  const [, kib] = /^VmRSS:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Math.round(Number(kib) / 102.4) / 10;
}

export async function run({ quick, seed }) {
  const tokens = Array.from({ length: CALLERS }, (_, index) => `hd_fuzz-${index}`);
  return disposing(async (own) => {
    const daemon = own(
      await startDaemon({
        rest: (folder) => {
          const lines = tokens.map(
            (token, index) => `c${index} admin sha256:${createHash("sha256").update(token).digest("hex")}`,
          );
          writeFileSync(join(folder, "tokens"), `${lines.join("\n")}\n`, { mode: 0o600 });
          return { admin: { http: { address: "127.0.0.1:0", tokens: join(folder, "tokens") } } };
        },
      }),
    );
    return fuzz(daemon, tokens, quick ? QUICK : REQUESTS, seed);
  });
}

async function fuzz(daemon, tokens, count, seed) {
  const up = daemon
    .log()
    .split("\n")
    .find((line) => line.includes("handoffd is up"));
  const port = Number(JSON.parse(up).http.split(":")[1]);
  const targets = { unix: { path: daemon.socket }, tcp: { host: "127.0.0.1", port } };
  const before = standing((await daemon.api("GET", "/v1/status")).json);
  const statuses = {};
  const wrong = [];
  let closed = 0;
  let sent = 0;
  const rss = [];
  const samples = fc.sample(requests, { numRuns: count, seed });
  const worker = async () => {
    while (sent < count && daemon.isRunning()) {
      const index = sent;
      sent += 1;
      const { by, request } = samples[index];
      const authorization = by === "tcp" ? `Bearer ${tokens[index % CALLERS]}` : "";
      const bytes = request.kind === "raw" ? request.bytes : bytesOf(request, authorization);
      const answer = await send(targets[by], bytes);
      if (answer === null || answer.some((status) => status >= 500)) {
        wrong.push({ index, by, answer, request: bytes.toString("latin1").slice(0, 500) });
      } else if (answer.length === 0) closed += 1;
      for (const status of answer ?? []) statuses[status] = (statuses[status] ?? 0) + 1;
      if (index % 50 === 0 && daemon.isRunning()) rss.push(rssMiB(daemon.pid));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const isRunning = daemon.isRunning();
  const quarter = Math.floor(rss.length / 4);
  const early = Math.min(...rss.slice(quarter, 2 * quarter));
  const late = Math.min(...rss.slice(-quarter));
  const after = isRunning ? standing((await daemon.api("GET", "/v1/status")).json) : null;
  const unchanged = JSON.stringify(after) === JSON.stringify(before);
  const faults = daemon
    .log()
    .split("\n")
    .filter((line) => /"level":[56]0/u.test(line)).length;
  const ok = isRunning && wrong.length === 0 && unchanged && faults === 0 && late - early <= GROWTH_MIB;
  return {
    ok,
    sent,
    statuses,
    closed,
    wrong: wrong.slice(0, 20),
    isRunning,
    unchanged,
    faults,
    rssMiB: { early, late, most: Math.max(...rss) },
  };
}
