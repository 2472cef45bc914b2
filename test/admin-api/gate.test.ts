import { expect, test } from "vitest";

import { RATE_LIMITS } from "../../admin-api/gate.ts";
import { RateLimit } from "../../admin-api/rate.ts";
import { FakeOperations } from "./fake-operations.ts";
import { serve } from "./serving.ts";
import { bearer, keyRing, tcpDoor } from "./tcp.ts";

test("a bucket gives what it has, and fills again with time", () => {
  let now = 0;
  const limit = new RateLimit({ perSecond: 2, burst: 3 }, () => now);
  expect([1, 2, 3, 4].map(() => limit.take("a"))).toEqual([0, 0, 0, 1]);
  expect(limit.take("b")).toBe(0);
  now = 500;
  expect([limit.take("a"), limit.take("a")]).toEqual([0, 1]);
  // A clock that was set back neither gives nor takes.
  now = 0;
  expect(limit.take("a")).toBe(1);
  now = 60_000;
  expect([1, 2, 3, 4].map(() => limit.take("a"))).toEqual([0, 0, 0, 1]);
});

test("who asks too often gets a 429 with Retry-After, and others do not", async () => {
  const { access, tokens } = keyRing();
  const limits = { ...RATE_LIMITS, reads: { perSecond: 0.5, burst: 2 } };
  const { server, log } = await serve({ access, limits });
  const { ask } = await tcpDoor(server);
  const as = async (name: string) => ask("GET", "/v1/status", undefined, bearer(tokens[name]));
  expect([(await as("reader")).status, (await as("reader")).status]).toEqual([200, 200]);
  const refused = await as("reader");
  expect([refused.status, refused.headers["retry-after"], refused.body["code"]]).toEqual([
    429,
    "2",
    "RATE_LIMITED",
  ]);
  expect((await as("admin")).status).toBe(200);
  expect(log).toEqual([]);
});

test("a plain look at the status is answered as any other, counted as any other, and fails as any other", async () => {
  const operations = new FakeOperations();
  const limits = { ...RATE_LIMITS, reads: { perSecond: 0.5, burst: 4 } };
  const { ask } = await serve({ operations, limits });
  const told = async (path: string) => {
    const { status, text, headers } = await ask("GET", path);
    const { date: _date, "x-request-id": id, ...rest } = headers;
    return { status, text, rest, isKnown: /^req-[0-9a-f-]{36}$/u.test(String(id)) };
  };
  const plain = await told("/v1/status");
  expect(plain).toMatchObject({ status: 200, isKnown: true });
  expect(await told("/v1/status?")).toEqual(plain);
  operations.status = () => {
    throw new Error("a fault");
  };
  await ask("POST", "/v1/reload");
  expect((await ask("GET", "/v1/status")).status).toBe(500);
  const { status, body } = await ask("GET", "/v1/status");
  expect([status, body["code"]]).toEqual([429, "RATE_LIMITED"]);
});

test("a stranger who guesses is slowed down, and a token from the same address is not", async () => {
  const { access, tokens } = keyRing();
  const { server } = await serve({
    access,
    limits: { ...RATE_LIMITS, strangers: { perSecond: 0.1, burst: 3 } },
  });
  const { ask } = await tcpDoor(server);
  const statuses: number[] = [];
  for (let n = 0; n < 5; n += 1)
    statuses.push((await ask("GET", "/v1/status", undefined, bearer(`hd_${n}`))).status);
  expect(statuses).toEqual([401, 401, 401, 429, 429]);
  expect((await ask("GET", "/v1/status", undefined, bearer(tokens["reader"]))).status).toBe(200);
});

test.each([
  ["localhost", 200],
  ["localhost:9700", 200],
  ["127.0.0.1", 200],
  ["127.1.2.3:80", 200],
  ["[::1]:9700", 200],
  ["LOCALHOST", 200],
  ["evil.example", 421],
  ["127.0.0.1.evil.example", 421],
  ["localhost.evil.example", 421],
  ["10.0.0.1", 421],
])("on a loopback address the host %s is a %d", async (host, status) => {
  const { server } = await serve();
  const { ask } = await tcpDoor(server);
  expect((await ask("GET", "/v1/status", undefined, { host })).status).toBe(status);
});

test.each([
  ["handoffd", 200],
  ["localhost:9700", 200],
  ["127.0.0.1:9700", 200],
  ["evil.example", 421],
  ["evil.example:9700", 421],
  ["127.0.0.1.evil.example", 421],
])(
  "by a unix socket, which someone may have forwarded to a port, the host %s is a %d",
  async (host, status) => {
    const { ask } = await serve();
    expect((await ask("GET", "/v1/status", undefined, { host })).status).toBe(status);
    // Nobody is known here by a token, so one that a page has made up opens nothing.
    expect((await ask("GET", "/v1/status", undefined, { host, ...bearer("hd_x") })).status).toBe(status);
  },
);

test("a proxy may pass any host on with a token, and other addresses have any name", async () => {
  const { access, tokens } = keyRing();
  const { server } = await serve({ access });
  const host = { host: "deploy.example.org" };
  const local = await tcpDoor(server);
  expect(
    (await local.ask("GET", "/v1/status", undefined, { ...host, ...bearer(tokens["reader"]) })).status,
  ).toBe(200);
  const open = await tcpDoor(server, { kind: "tcp", isLoopback: false, tls: null });
  expect((await open.ask("GET", "/healthz", undefined, host)).status).toBe(200);
  expect((await open.ask("GET", "/v1/status", undefined, host)).status).toBe(401);
});

test.each([
  [{ "sec-fetch-site": "cross-site" }, 403],
  [{ "sec-fetch-site": "same-site" }, 403],
  [{ origin: "https://evil.example" }, 403],
  [{ origin: "null" }, 403],
  [{ "sec-fetch-site": "same-origin", origin: "http://localhost:9700", host: "localhost:9700" }, 202],
  [{ "sec-fetch-site": "none" }, 202],
  [{}, 202],
] as const)("a change with the headers %j is a %d", async (headers, status) => {
  const { access, tokens } = keyRing();
  const { server } = await serve({ access });
  const { ask } = await tcpDoor(server);
  const answer = await ask(
    "POST",
    "/v1/services/api/deploys",
    {},
    { ...headers, ...bearer(tokens["deployer"]) },
  );
  expect(answer.status).toBe(status);
});

test("no answer lets another site's page read it", async () => {
  const { ask } = await serve();
  for (const path of ["/v1/status", "/nowhere", "/v1/events?follow=false"]) {
    const { headers } = await ask("GET", path, undefined, { origin: "https://evil.example" });
    expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "content-security-policy": expect.stringContaining("default-src 'none'") as string,
      "cache-control": "no-store",
    });
  }
  const preflight = await ask("OPTIONS", "/v1/services/api/deploys", undefined, {
    origin: "https://evil.example",
  });
  expect(preflight.status).toBe(403);
});

test("an address above 4096 bytes is a 414", async () => {
  const { ask } = await serve();
  expect((await ask("GET", `/v1/deploys?service=${"x".repeat(4096)}`)).body["code"]).toBe("URI_TOO_LONG");
  expect((await ask("GET", `/${"x".repeat(4096)}`)).status).toBe(414);
  expect((await ask("GET", `/v1/deploys?service=${"x".repeat(4000)}`)).status).toBe(404);
});

test("a door for metrics has nothing else, and asks nobody", async () => {
  const { access } = keyRing();
  const { server } = await serve({ access });
  const { ask } = await tcpDoor(server, { kind: "metrics", isLoopback: true });
  expect((await ask("GET", "/metrics")).status).toBe(200);
  expect((await ask("GET", "/healthz")).status).toBe(200);
  for (const path of ["/v1/status", "/readyz", "/openapi.json", "/nowhere"]) {
    expect((await ask("GET", path)).status).toBe(404);
  }
  expect((await ask("POST", "/v1/services/api/deploys", {})).status).toBe(404);
  expect((await ask("GET", "/metrics", undefined, { host: "evil.example" })).status).toBe(421);
});

test("each change says in the log who asked, from where and with what result, and no secret", async () => {
  const { access, tokens } = keyRing();
  const { server, log } = await serve({ access });
  const { ask } = await tcpDoor(server);
  const token = tokens["deployer"] ?? "";
  const path = "/v1/services/api/deploys";
  const done = await ask("POST", `${path}?token=${token}`, { version: "42" }, bearer(token));
  await ask("POST", path, { version: token }, bearer(`${token}x`));
  await ask("POST", path, { version: token }, bearer(tokens["reader"]));
  expect(log).toMatchObject([
    {
      msg: "change requested",
      request: done.headers["x-request-id"],
      caller: {
        transport: "tcp",
        name: "deployer",
        role: "deploy",
        address: expect.stringMatching(/^127\.0\.0\.1:\d+$/u) as string,
      },
      method: "POST",
      route: path,
      body: { version: "42" },
      status: 202,
    },
    { caller: { name: null, address: "127.0.0.1" }, route: path, status: 401, code: "TOKEN_REFUSED" },
    { caller: { name: "reader" }, route: path, status: 403, code: "ROLE_FORBIDDEN" },
  ]);
  // Whoever is let in may still put a token where it does not belong.
  await ask("POST", `/v1/services/${token}/deploys`, { version: token }, bearer(token));
  expect(log.at(-1)).toMatchObject({
    route: "/v1/services/hd_…/deploys",
    body: { version: "hd_…" },
    status: 404,
  });
  expect(JSON.stringify(log)).not.toContain(token.slice(3));
});
