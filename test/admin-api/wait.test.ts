import { performance } from "node:perf_hooks";

import { expect, test } from "vitest";

import { ROOT, serve } from "./serving.ts";

test("a wait is answered as soon as the deploy changes, with what it is then", async () => {
  const { ask, operations } = await serve();
  operations.deploy("api", {}, ROOT);
  const waiting = ask("GET", "/v1/deploys/d-1?wait=30s");
  // Answered at once: so the one before is being waited for.
  await ask("GET", "/v1/deploys/d-1");
  operations.enter("d-1", "verifying");
  expect((await waiting).body["phase"]).toBe("verifying");
});

test("a wait for a deploy that has ended, and one for no time, are answered at once", async () => {
  const { ask, operations } = await serve();
  operations.deploy("api", {}, ROOT);
  expect((await ask("GET", "/v1/deploys/d-1?wait=0s")).body["phase"]).toBe("starting");
  operations.enter("d-1", "failed");
  expect((await ask("GET", "/v1/deploys/d-1?wait=1m")).body["phase"]).toBe("failed");
});

test("a wait in which nothing happens is answered when its time is over, with the same record", async () => {
  const { ask, operations } = await serve();
  operations.deploy("api", {}, ROOT);
  const startedAt = performance.now();
  // An event without a change is no change.
  const waiting = ask("GET", "/v1/deploys/d-1?wait=300ms");
  await ask("GET", "/v1/deploys/d-1");
  operations.events.append({ type: "instance.ready", message: "nothing of the record", deploy: "d-1" });
  expect((await waiting).body["phase"]).toBe("starting");
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(295);
});

test("a change that comes while the record is being read is not missed", async () => {
  const { ask, operations } = await serve();
  operations.deploy("api", {}, ROOT);
  const read = operations.getDeploy.bind(operations);
  let reads = 0;
  operations.getDeploy = (id) => {
    const deploy = read(id);
    reads += 1;
    if (reads === 1) operations.enter(id, "verifying");
    return deploy;
  };
  expect((await ask("GET", "/v1/deploys/d-1?wait=20s")).body["phase"]).toBe("verifying");
});

test.each([
  ["61s", '"wait" of the query must be at most 60s.'],
  ["2h", '"wait" of the query must be at most 60s.'],
  ["soon", '"wait" of the query must be a duration as "30s"'],
])("a wait of %s is refused", async (wait, detail) => {
  const { ask, operations } = await serve();
  operations.deploy("api", {}, ROOT);
  const { status, body } = await ask("GET", `/v1/deploys/d-1?wait=${wait}`);
  expect([status, body["code"]]).toEqual([400, "REQUEST_INVALID"]);
  expect(body["detail"]).toContain(detail);
});

test("closing the server answers those who wait, and forgets those who have gone", async () => {
  const { ask, operations, server } = await serve();
  operations.deploy("api", {}, ROOT);
  const waiting = ask("GET", "/v1/deploys/d-1?wait=1m");
  await ask("GET", "/v1/deploys/d-1");
  await server.close();
  expect((await waiting).body["phase"]).toBe("starting");
});
