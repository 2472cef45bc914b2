import { expect, test } from "vitest";

import { Idempotency } from "../../admin-api/idempotency.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import { ROOT, serve } from "./serving.ts";

const DEPLOYS = "/v1/services/api/deploys";

test("a deploy is accepted with 202 and found at its Location", async () => {
  const { ask, operations } = await serve();
  const { status, headers, body } = await ask("POST", DEPLOYS, { version: "42", strategy: "rolling" });
  expect([status, headers["location"]]).toEqual([202, "/v1/deploys/d-1"]);
  expect(body).toMatchObject({
    id: "d-1",
    service: "api",
    from: 3,
    to: 4,
    version: "42",
    strategy: "rolling",
  });
  expect(body["requestedBy"]).toBe("root (uid 0)");
  expect((await ask("GET", "/v1/deploys/d-1")).body).toEqual(body);
  expect(operations.callers).toEqual([ROOT]);
});

test.each([
  ["no body at all", undefined, {}],
  ["an empty body of type JSON", "", { "content-type": "application/json" }],
])("a deploy with %s is a deploy of what runs", async (_title, sent, headers) => {
  const { status, body } = await (await serve()).ask("POST", DEPLOYS, sent, headers);
  expect([status, body["version"]]).toEqual([202, "41"]);
});

test("a second deploy of the same service is a 409", async () => {
  const { ask } = await serve();
  await ask("POST", DEPLOYS, {});
  const { status, body } = await ask("POST", DEPLOYS, {});
  expect([status, body["code"], body["detail"]]).toEqual([
    409,
    "DEPLOY_IN_PROGRESS",
    "Deploy d-1 is starting.",
  ]);
});

test.each(["deploys", "rollback", "restart"])("POST %s of an unknown service is a 404", async (verb) => {
  const { status, body } = await (await serve()).ask("POST", `/v1/services/apo/${verb}`);
  expect([status, body["code"]]).toEqual([404, "SERVICE_UNKNOWN"]);
});

test.each(["rollback", "restart"])("POST %s is accepted with 202 and found at its Location", async (verb) => {
  const { status, headers } = await (await serve()).ask("POST", `/v1/services/api/${verb}`);
  expect([status, headers["location"]]).toEqual([202, "/v1/deploys/d-1"]);
});

test.each([
  ["promote", { paused: false }],
  ["pause", { paused: true }],
  ["continue", { paused: false }],
  ["abort", { phase: "aborted" }],
])("POST %s answers with the deploy as it is then", async (verb, expected) => {
  const { ask } = await serve();
  await ask("POST", DEPLOYS, {});
  const { status, body } = await ask("POST", `/v1/deploys/d-1/${verb}`);
  expect([status, body]).toMatchObject([200, expected]);
});

test.each(["promote", "pause", "continue", "abort"])(
  "POST %s of a deploy that has ended is a 409",
  async (verb) => {
    const { ask, operations } = await serve();
    await ask("POST", DEPLOYS, {});
    operations.enter("d-1", "succeeded");
    const { status, body } = await ask("POST", `/v1/deploys/d-1/${verb}`);
    expect([status, body["code"]]).toEqual([409, "DEPLOY_ALREADY_ENDED"]);
    expect((await ask("POST", `/v1/deploys/d-9/${verb}`)).status).toBe(404);
  },
);

test.each([
  ['"3"', 202],
  ['"2", "3"', 202],
  ["*", 202],
  ['"2"', 412],
  ["3", 412],
  ['W/"3"', 412],
])("a deploy with If-Match: %s while generation 3 is current is a %d", async (expected, status) => {
  const { ask, operations } = await serve();
  const answer = await ask("POST", DEPLOYS, {}, { "if-match": expected });
  expect(answer.status).toBe(status);
  if (status === 412) expect([answer.body["code"], operations.callers]).toEqual(["GENERATION_STALE", []]);
});

test("If-Match: * without a current generation is a 412", async () => {
  const { ask, operations } = await serve();
  operations.current = null;
  expect((await ask("POST", DEPLOYS, {}, { "if-match": "*" })).status).toBe(412);
});

test("the same Idempotency-Key with the same request gets the first answer, even when it is stale by then", async () => {
  const { ask, operations } = await serve();
  const headers = { "idempotency-key": "k", "if-match": '"3"' };
  const first = await ask("POST", DEPLOYS, { version: "42" }, headers);
  operations.enter("d-1", "succeeded");
  operations.current = 4;
  const second = await ask("POST", DEPLOYS, { version: "42" }, headers);
  expect([second.status, second.body, second.headers["location"]]).toEqual([
    202,
    first.body,
    "/v1/deploys/d-1",
  ]);
  expect(operations.callers).toHaveLength(1);
});

test("the same Idempotency-Key with another request is a 422, and nothing is done", async () => {
  const { ask, operations } = await serve();
  const headers = { "idempotency-key": "k" };
  await ask("POST", DEPLOYS, { version: "42" }, headers);
  const other = await ask("POST", DEPLOYS, { version: "43" }, headers);
  expect([other.status, other.body["code"]]).toEqual([422, "IDEMPOTENCY_KEY_REUSED"]);
  expect((await ask("POST", "/v1/services/api/restart", {}, headers)).status).toBe(422);
  expect(operations.callers).toHaveLength(1);
});

test("a refusal is not remembered under its Idempotency-Key", async () => {
  const { ask, operations } = await serve();
  operations.failure = new CodedError("DEPLOY_IN_PROGRESS", "Another one is running.");
  const headers = { "idempotency-key": "k" };
  expect((await ask("POST", DEPLOYS, {}, headers)).status).toBe(409);
  expect((await ask("POST", DEPLOYS, {}, headers)).status).toBe(202);
});

test("keys are forgotten after 24 hours, and the oldest first when there are too many", async () => {
  let now = 0;
  const idempotency = new Idempotency({ capacity: 2, now: () => now });
  let done = 0;
  const again = (key: string, owner = "uid 0") => idempotency.once(key, owner, null, () => (done += 1));
  expect(await Promise.all([again("a"), again("a")])).toEqual([1, 1]);
  expect(await again("a", "uid 7")).toBe(2);
  expect(await again("b")).toBe(3);
  expect(await again("b")).toBe(3);
  expect(await again("a")).toBe(4);
  now = 24 * 3600 * 1000;
  expect(await again("a")).toBe(5);
});

test("each change that is asked for leaves one line with who, what and the result; reading leaves none", async () => {
  const { ask, log } = await serve();
  await ask("GET", "/v1/status");
  await ask("POST", DEPLOYS, { version: "42" });
  await ask("POST", DEPLOYS, { version: "43" });
  const caller = { name: "root (uid 0)", uid: 0, pid: 4711 };
  expect(log).toMatchObject([
    {
      msg: "change requested",
      caller,
      method: "POST",
      route: DEPLOYS,
      body: { version: "42" },
      status: 202,
      location: "/v1/deploys/d-1",
    },
    { msg: "change requested", caller, body: { version: "43" }, status: 409, code: "DEPLOY_IN_PROGRESS" },
  ]);
});
