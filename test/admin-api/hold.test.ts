import { expect, test } from "vitest";

import { serve } from "./serving.ts";

test("a hold lets the service's new connections wait, and resume is a deploy that ends it", async () => {
  const { ask, client } = await serve();
  const held = await ask("POST", "/v1/services/api/hold", { idle: true });
  expect([held.status, held.body]).toMatchObject([
    200,
    { state: "held", held: { requestedBy: "root (uid 0)", idles: true, waiting: 0 } },
  ]);
  const refused = await ask("POST", "/v1/services/api/deploys");
  expect([refused.status, refused.body["code"]]).toEqual([409, "SERVICE_HELD"]);
  const resumed = await ask("POST", "/v1/services/api/resume");
  expect([resumed.status, resumed.headers["location"], resumed.body]).toMatchObject([
    202,
    "/v1/deploys/d-1",
    { id: "d-1", phase: "starting" },
  ]);
  expect((await client.service("api")).held).toBeNull();
});

test("a hold says by itself that the generation is to end", async () => {
  const { ask } = await serve();
  expect((await ask("POST", "/v1/services/api/hold")).body).toMatchObject({ held: { idles: false } });
});

test("what cannot be held or resumed is a 409 with its reason", async () => {
  const { ask, operations } = await serve();
  const resumed = await ask("POST", "/v1/services/api/resume");
  expect([resumed.status, resumed.body["code"]]).toEqual([409, "NOT_HELD"]);
  operations.current = null;
  const held = await ask("POST", "/v1/services/api/hold");
  expect([held.status, held.body["code"]]).toEqual([409, "NOTHING_TO_HOLD"]);
});

test("scaling answers with the service as it is then", async () => {
  const { ask, client } = await serve();
  const { status, body } = await ask("PUT", "/v1/services/api/scale", { instances: 3 });
  expect([status, body["name"]]).toEqual([200, "api"]);
  expect((await client.service("api")).generations[0]?.instances).toHaveLength(3);
  expect((await client.scale("api", 2)).generations[0]?.instances).toHaveLength(2);
});

test.each([
  [{}, 'The body lacks "instances".'],
  [{ instances: 0 }, '"instances" of the body must be >= 1.'],
  [{ instances: 1.5 }, '"instances" of the body must be integer.'],
  [{ instances: "2" }, '"instances" of the body must be integer.'],
])("scaling with %j is refused in words that name the place", async (body, detail) => {
  const { ask, operations } = await serve();
  const answer = await ask("PUT", "/v1/services/api/scale", body);
  expect([answer.status, answer.body["detail"]]).toEqual([400, detail]);
  expect(operations.callers).toEqual([]);
});
