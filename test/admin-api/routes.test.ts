import { Ajv } from "ajv";
import { expect, test } from "vitest";

import * as schemas from "../../admin-api/schemas.ts";
import { ROOT, serve } from "./serving.ts";

const ajv = new Ajv({ allowUnionTypes: true })
  .addFormat("date-time", /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  .addFormat("uri", /^urn:/);

function expectToFit(schema: object, body: unknown): void {
  const fits = ajv.compile(schema);
  expect(fits(body), JSON.stringify(fits.errors)).toBe(true);
}

test.each([
  ["/healthz", schemas.Alive],
  ["/readyz", schemas.Health],
  ["/v1/caller", schemas.Caller],
  ["/v1/status", schemas.Status],
  ["/v1/doctor", schemas.Diagnosis],
  ["/v1/listeners", schemas.ListenerList],
  ["/v1/listeners/web", schemas.Listener],
  ["/v1/services", schemas.ServiceList],
  ["/v1/services/api", schemas.Service],
  ["/v1/services/api/generations/3", schemas.Generation],
  ["/v1/deploys", schemas.DeployList],
] as const)("GET %s answers with the body that its schema describes", async (path, schema) => {
  const { ask, operations } = await serve();
  operations.deploy("api", {}, ROOT);
  const { status, headers, body } = await ask("GET", path);
  expect(status).toBe(200);
  expect(headers["content-type"]).toMatch(/^application\/json/);
  expect(headers["cache-control"]).toBe("no-store");
  expectToFit(schema, body);
});

test("readyz is 503 with the reasons while the daemon is not ready", async () => {
  const { ask, operations } = await serve();
  operations.health_ = { ready: false, reasons: ["api has no generation that serves"] };
  const { status, body } = await ask("GET", "/readyz");
  expect([status, body]).toEqual([503, operations.health_]);
  expect((await ask("GET", "/healthz")).status).toBe(200);
});

test("metrics come in the content type that the registry names", async () => {
  const { status, headers, text } = await (await serve()).ask("GET", "/metrics");
  expect([status, headers["content-type"], text]).toEqual([
    200,
    "text/plain; version=0.0.4",
    "handoffd_build_info 1\n",
  ]);
});

test("a service's ETag is the quoted number of its current generation, and there is none without one", async () => {
  const { ask, operations } = await serve();
  expect((await ask("GET", "/v1/services/api")).headers.etag).toBe('"3"');
  operations.current = null;
  expect((await ask("GET", "/v1/services/api")).headers.etag).toBeUndefined();
});

test.each([
  [
    "/v1/services/apo",
    "SERVICE_UNKNOWN",
    'There is no service "apo". Did you mean "api"? The only service is api.',
  ],
  ["/v1/listeners/mail", "LISTENER_UNKNOWN", 'There is no listener "mail". The only listener is web.'],
  [
    "/v1/services/api/generations/9",
    "GENERATION_UNKNOWN",
    "The service api has no generation 9. The only generation is 3.",
  ],
  [
    "/v1/deploys/d-9",
    "DEPLOY_UNKNOWN",
    'There is no deploy "d-9". GET /v1/deploys lists those that are kept.',
  ],
  ["/v1/deploys?service=x", "SERVICE_UNKNOWN", 'There is no service "x". The only service is api.'],
  ["/v2/status", "ROUTE_UNKNOWN", "There is no resource /v2/status. docs/api.md lists what there is."],
] as const)("GET %s is a 404 that names what there is", async (path, code, detail) => {
  const { status, headers, body } = await (await serve()).ask("GET", path);
  expect(status).toBe(404);
  expect(headers["content-type"]).toMatch(/^application\/problem\+json/);
  expectToFit(schemas.Problem, body);
  expect(body).toMatchObject({ status: 404, code, detail, type: `urn:handoffd:error:${code}` });
  expect(body["instance"]).toBe(headers["x-request-id"]);
});

test("the deploys come newest first, in pages that follow one another without a gap", async () => {
  const { client, operations } = await serve();
  for (let n = 1; n <= 5; n += 1) {
    const { id } = await client.deploy("api", { version: String(n) });
    operations.enter(id, "succeeded");
  }
  const first = await client.listDeploys({ limit: 2 });
  expect(first.deploys.map(({ id }) => id)).toEqual(["d-5", "d-4"]);
  const second = await client.listDeploys({ limit: 2, before: first.next ?? "" });
  expect(second.deploys.map(({ id }) => id)).toEqual(["d-3", "d-2"]);
  const third = await client.listDeploys({ limit: 2, before: second.next ?? "" });
  expect([third.deploys.map(({ id }) => id), third.next]).toEqual([["d-1"], null]);
});

test("a generation is ended once per Idempotency-Key, by who asked for it", async () => {
  const { ask, client, operations } = await serve();
  const path = "/v1/services/api/generations/3/end";
  for (let n = 0; n < 2; n++) {
    const { status, body } = await ask("POST", path, undefined, { "idempotency-key": "k" });
    expect(status).toBe(200);
    expectToFit(schemas.Generation, body);
  }
  expect(operations.callers.map(({ name }) => name)).toEqual(["root (uid 0)"]);
  await expect(client.endGeneration("api", 9)).rejects.toMatchObject({
    status: 404,
    code: "GENERATION_UNKNOWN",
  });
  expect(await ask("POST", "/v1/services/api/generations/none/end")).toMatchObject({ status: 400 });
});
