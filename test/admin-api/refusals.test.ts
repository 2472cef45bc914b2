import { once } from "node:events";
import { connect } from "node:net";

import { expect, test } from "vitest";

import { CodedError } from "../../handoff/coded-error.ts";
import { serve } from "./serving.ts";

const DEPLOYS = "/v1/services/api/deploys";

test.each([
  [
    { verison: "42" },
    'The body has an unknown field "verison". Did you mean "version"? It may have version, strategy, steps, bake.',
  ],
  [
    { version: "../42" },
    '"version" of the body must be at most 128 letters, digits, ".", "_" and "-", the first one a letter or a digit.',
  ],
  [{ version: 42 }, '"version" of the body must be string.'],
  [{ strategy: "green" }, '"strategy" of the body must be one of blue-green, canary, rolling, recreate.'],
  [
    { steps: [{ weight: "5%" }, { weight: 7 }] },
    '"steps[1].weight" of the body must be a share from 0 to 1, or a percentage as "5%".',
  ],
  [{ steps: [{ for: "1m" }] }, '"steps[0]" of the body lacks "weight".'],
  [{ bake: "soon" }, '"bake" of the body must be a duration as "30s" or "1m30s".'],
  [[], "The body must be object."],
  ['{"version":', "The body is not JSON."],
  ["null", "The body must be object."],
  ['{"__proto__": {"version": "1"}}', "The body is not JSON."],
] as const)("a deploy with the body %j is refused in words that name the place", async (body, detail) => {
  const { ask, operations } = await serve();
  const answer = await ask("POST", DEPLOYS, body);
  expect([answer.status, answer.body["code"], answer.body["detail"]]).toEqual([
    400,
    "REQUEST_INVALID",
    detail,
  ]);
  expect(operations.callers).toEqual([]);
});

test.each([
  ["/v1/deploys?limit=many", '"limit" of the query must be integer.'],
  ["/v1/deploys?limit=0", '"limit" of the query must be >= 1.'],
  ["/v1/deploys?limit=1&limit=2", '"limit" of the query must be integer.'],
  [
    "/v1/deploys?servcie=api",
    'The query has an unknown field "servcie". Did you mean "service"? It may have service, limit, before.',
  ],
  ["/v1/services/api/generations/last", '"number" of the path must be integer.'],
  ["/v1/services/%zz", "'/v1/services/%zz' is not a valid url component"],
] as const)("GET %s is refused in words that name the place", async (path, detail) => {
  const { status, body } = await (await serve()).ask("GET", path);
  expect([status, body["detail"]]).toEqual([400, detail]);
});

test("a wish that says more than its path is refused", async () => {
  const { ask } = await serve();
  const { status, body } = await ask("POST", "/v1/deploys/d-1/abort", { force: true });
  expect([status, body["detail"]]).toEqual([
    400,
    'The body has an unknown field "force". It takes no fields.',
  ]);
});

test.each([
  ["DELETE", "/v1/status", "GET, HEAD"],
  ["GET", DEPLOYS, "POST"],
  ["PUT", "/v1/deploys/d-1/abort", "POST"],
  ["PROPFIND", "/v1/services/api", "GET, HEAD"],
])("%s %s is a 405 that says what is allowed", async (method, path, allow) => {
  const { status, headers, body } = await (await serve()).ask(method, path);
  expect([status, headers["allow"], body["code"]]).toEqual([405, allow, "METHOD_NOT_ALLOWED"]);
});

test.each(["text/plain", "application/x-www-form-urlencoded", "application/xml"])(
  "a body of type %s is a 415",
  async (type) => {
    const { ask, operations } = await serve();
    const { status, body } = await ask("POST", DEPLOYS, "{}", { "content-type": type });
    expect([status, body["code"]]).toEqual([415, "MEDIA_TYPE_UNSUPPORTED"]);
    expect(body["detail"]).toContain(type);
    expect(operations.callers).toEqual([]);
  },
);

test("a body above 64 KiB is a 413, one below is read", async () => {
  const { ask } = await serve();
  const large = await ask("POST", DEPLOYS, { version: "x".repeat(64 * 1024) });
  expect([large.status, large.body["code"]]).toEqual([413, "BODY_TOO_LARGE"]);
  const small = await ask("POST", DEPLOYS, { version: "x".repeat(63 * 1024) });
  expect([small.status, small.body["code"]]).toEqual([400, "REQUEST_INVALID"]);
});

test.each([
  [
    "headers above 16 KiB",
    `GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Long: ${"x".repeat(17_000)}\r\n\r\n`,
    431,
  ],
  ["bytes that are not HTTP", "HELLO\r\n\r\n", 400],
  ["a request without a host", "GET /v1/status HTTP/1.1\r\n\r\n", 400],
] as const)("%s are answered and the connection is closed", async (_title, bytes, status) => {
  const { path, client } = await serve();
  const socket = connect(path).setEncoding("utf8");
  let text = "";
  socket.on("data", (chunk: string) => (text += chunk)).end(bytes);
  await once(socket, "close");
  expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect((await client.status()).pid).toBe(41);
});

test("an error that nobody foresaw is a 500 that tells nothing but the reference of its one log line", async () => {
  const { ask, operations, log } = await serve();
  operations.failure = new TypeError("cannot read properties of undefined (reading 'secret')");
  const { status, text, body } = await ask("POST", DEPLOYS, {});
  expect([status, body["code"]]).toEqual([500, "INTERNAL"]);
  expect(text).not.toContain("secret");
  expect(body["detail"]).toContain(String(body["instance"]));
  const errors = log.filter(({ level }) => level >= 50);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatchObject({
    msg: "request failed",
    request: body["instance"],
    err: { type: "TypeError" },
  });
});

test("a coded error that the table does not know is a 500 with its own code and sentence", async () => {
  const { ask, operations } = await serve();
  operations.failure = new CodedError("NEVER_HEARD_OF", "Something new.");
  const { status, body } = await ask("POST", DEPLOYS, {});
  expect([status, body["code"], body["detail"]]).toEqual([500, "NEVER_HEARD_OF", "Something new."]);
});

test("a connection whose peer is unknown is closed before it is answered", async () => {
  const { path, log } = await serve({
    peerOf: () => {
      throw new Error("no credentials");
    },
  });
  const socket = connect(path);
  let received = 0;
  // What it sends may find the socket closed already.
  socket.on("error", () => undefined).on("data", ({ length }) => (received += length));
  socket.write("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
  await new Promise((resolve) => socket.once("close", resolve));
  expect(received).toBe(0);
  expect(log.map(({ msg }) => msg)).toEqual(["connection closed: its peer is unknown"]);
});
