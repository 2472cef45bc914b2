/** Each operation × each role × each way to ask: allowed, 401 or 403 as docs/security.md says. */
import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { Access } from "../../admin-api/access.ts";
import { RATE_LIMITS } from "../../admin-api/gate.ts";
import { describeApi } from "../../admin-api/openapi.ts";
import { allows, grantedTo, type Role } from "../../admin-api/roles.ts";
import { root } from "../support/paths.ts";
import { type Answer, serve } from "./serving.ts";
import { bearer, certificates, keyRing, tcpDoor } from "./tcp.ts";

const { paths } = describeApi();
const operations = Object.entries(paths).flatMap(([template, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    method: method.toUpperCase(),
    template,
    // The service is not there: whoever is let in learns that, and nothing is changed by the matrix.
    path: `${template.replace("{service}", "api").replace("{id}", "d-9").replace("{number}", "3").replace("{name}", "web")}${template === "/v1/events" ? "?follow=false" : ""}`,
    role: operation["x-role"] as Role | "anyone",
  })),
);
const LEVELS = [null, "read", "deploy", "admin"] as const;

/** What became of the question who asks. */
function verdictOf({ status, body }: Answer): string {
  if (status === 401) return "401";
  return status === 403 && String(body["code"]).endsWith("FORBIDDEN") ? "403" : "allowed";
}

function expected(held: Role | null, needed: Role | "anyone"): string {
  return needed === "anyone" || allows(held, needed) ? "allowed" : "403";
}

/** The table of docs/security.md: operation to the least role. */
function documented(): Map<string, string> {
  const text = readFileSync(`${root}/docs/security.md`, "utf8");
  const rows = [...text.matchAll(/^\| `([A-Z]+) (\/\S*)` +\| (\w+) +\|$/gmu)];
  return new Map(rows.map(([, method = "", path = "", role = ""]) => [`${method} ${path}`, role]));
}

test("docs/security.md has the role of every operation", () => {
  const table = Object.fromEntries(documented());
  expect(table).toEqual(
    Object.fromEntries(operations.map(({ method, template, role }) => [`${method} ${template}`, role])),
  );
});

async function matrix(
  ask: (held: Role | null, method: string, path: string) => Promise<Answer>,
  levels: readonly (Role | null)[] = LEVELS,
): Promise<void> {
  for (const held of levels) {
    for (const { method, path, template, role } of operations) {
      const verdict = verdictOf(await ask(held, method, path));
      expect([held, method, template, verdict]).toEqual([held, method, template, expected(held, role)]);
    }
  }
}

const open = {
  ...RATE_LIMITS,
  changes: { perSecond: 1e6, burst: 1e6 },
  strangers: { perSecond: 1e6, burst: 1e6 },
};

test("by the unix socket, the kernel's word decides", async () => {
  const uids = { read: 5001, deploy: 5002, admin: 5003, none: 5004 };
  const grants = (["read", "deploy", "admin"] as const).map((role) => ({
    role,
    to: "user" as const,
    id: uids[role],
  }));
  let uid = 0;
  const access = new Access({ grants, tokens: null, certificates: false });
  const { ask } = await serve({ access, limits: open, peerOf: () => ({ pid: 1, uid, gid: 5000 }) });
  await matrix(async (held, method, path) => {
    uid = uids[held ?? "none"];
    return ask(method, path);
  });
});

test("by TCP, the token decides", async () => {
  const { access, tokens } = keyRing();
  const { server } = await serve({ access, limits: open });
  const { ask } = await tcpDoor(server);
  const names = { read: "reader", deploy: "deployer", admin: "admin" };
  await matrix(
    async (held, method, path) => ask(method, path, undefined, bearer(tokens[names[held ?? "read"]])),
    ["read", "deploy", "admin"],
  );
});

test("by TCP without a token, or with one that is unknown or out of force, it is a 401 but for /healthz", async () => {
  const { access, tokens } = keyRing([{ name: "old", role: "admin", expires: "2020-01-01" }]);
  const { server } = await serve({ access, limits: open });
  const { ask } = await tcpDoor(server);
  for (const headers of [
    {},
    bearer("hd_x"),
    bearer(tokens["old"]),
    { authorization: "Basic YTpi" },
    { authorization: "" },
  ]) {
    for (const { method, path, role } of operations) {
      const answer = await ask(method, path, undefined, headers);
      expect([path, verdictOf(answer)]).toEqual([path, role === "anyone" ? "allowed" : "401"]);
      if (answer.status === 401) expect(answer.headers["www-authenticate"]).toContain("Bearer");
    }
  }
});

test("on a loopback address without tokens everyone may look, and nobody may change anything", async () => {
  const { server, operations: daemon } = await serve({ limits: open });
  const { ask } = await tcpDoor(server);
  await matrix(async (_held, method, path) => ask(method, path), ["read"]);
  expect(daemon.callers).toEqual([]);
});

describe("by TLS", () => {
  test("a client's certificate decides, and one of another CA is as good as none", async () => {
    const made = await certificates();
    const lines = "r read cert:cn=reader\nd deploy cert:dns=deployer.test\na admin cert:cn=admin\n";
    const { access, tokens } = keyRing([], lines, true);
    const { server } = await serve({ access, limits: open });
    const { ask } = await tcpDoor(server, { kind: "tcp", isLoopback: true, tls: made });
    const known = {
      read: made.client("reader"),
      deploy: made.client("deployer"),
      admin: made.client("admin"),
      none: made.client("nobody"),
    };
    await matrix(async (held, method, path) =>
      ask(method, path, undefined, {}, { ca: made.ca, ...known[held ?? "none"] }),
    );
    const forged = made.client("admin", false);
    const other = await ask("GET", "/v1/status", undefined, {}, { ca: made.ca, ...forged });
    expect(other.status).toBe(401);
    const both = await ask("GET", "/v1/status", undefined, bearer(tokens["reader"]), {
      ca: made.ca,
      ...forged,
    });
    expect(both.status).toBe(200);
    expect((await ask("GET", "/v1/status", undefined, {}, { ca: made.ca })).status).toBe(401);
  });

  test("a certificate without a file of roles may look", async () => {
    const made = await certificates();
    const access = new Access({ grants: [], tokens: null, certificates: true });
    const { server } = await serve({ access, limits: open });
    const { ask } = await tcpDoor(server, { kind: "tcp", isLoopback: false, tls: made });
    const client = { ca: made.ca, ...made.client("someone") };
    await matrix(async (_held, method, path) => ask(method, path, undefined, {}, client), ["read"]);
    expect((await ask("GET", "/v1/status", undefined, {}, { ca: made.ca })).status).toBe(401);
  });

  test("plain HTTP to the port of TLS is closed without harm", async () => {
    const made = await certificates();
    const { access, tokens } = keyRing();
    const { server } = await serve({ access });
    const door = await tcpDoor(server, { kind: "tcp", isLoopback: true, tls: made });
    const plain = await fetch(`http://127.0.0.1:${door.port}/healthz`).catch((error: unknown) => error);
    expect(plain).toBeInstanceOf(Error);
    expect(
      (await door.ask("GET", "/v1/status", undefined, bearer(tokens["reader"]), { ca: made.ca })).status,
    ).toBe(200);
  });
});

test("a group grants its role too, and the widest of several holds", () => {
  const grants = [
    { role: "read", to: "group", id: 7 },
    { role: "admin", to: "group", id: 8 },
    { role: "deploy", to: "user", id: 5 },
  ] as const;
  const held = (uid: number, ...groups: number[]) => grantedTo(grants, uid, new Set(groups));
  expect([held(5), held(5, 7), held(6, 7), held(6, 7, 8), held(6)]).toEqual([
    "deploy",
    "deploy",
    "read",
    "admin",
    null,
  ]);
});

test("root and the daemon's own user need not be named", () => {
  const access = new Access({
    grants: [{ role: "read", to: "user", id: 1 }],
    tokens: null,
    certificates: false,
  });
  const roleOf = (uid: number) => access.ofPeer({ pid: 1, uid, gid: 1 }).role;
  expect([roleOf(0), roleOf(process.getuid?.() ?? 0), roleOf(1), roleOf(2)]).toEqual([
    "admin",
    "admin",
    "read",
    null,
  ]);
});

test("a token for some services changes no other, whatever it asks, and reads all", async () => {
  const { access, tokens } = keyRing([{ name: "narrow", role: "admin", services: ["web"] }]);
  const { server, operations: daemon } = await serve({ access });
  const { ask } = await tcpDoor(server);
  daemon.deploy("api", {}, access.ofPeer({ pid: 1, uid: 0, gid: 0 }));
  const headers = bearer(tokens["narrow"]);
  for (const { method, template } of operations.filter((one) => one.method !== "GET")) {
    const path = template.replace("{service}", "api").replace("{id}", "d-1").replace("{number}", "3");
    const body = template.endsWith("scale") ? { instances: 2 } : undefined;
    const { status, body: answer } = await ask(method, path, body, headers);
    expect([template, status, answer["code"]]).toEqual([template, 403, "SERVICE_FORBIDDEN"]);
  }
  expect(daemon.callers).toHaveLength(1);
  expect((await ask("GET", "/v1/services/api", undefined, headers)).status).toBe(200);
  expect((await ask("POST", "/v1/services/web/deploys", {}, headers)).body["code"]).toBe("SERVICE_UNKNOWN");
});

test("roles that are replaced hold from the next request on, on an open connection too", async () => {
  const { access, tokens, policy } = keyRing();
  const { server } = await serve({ access });
  const { ask } = await tcpDoor(server);
  const asked = async () => (await ask("GET", "/v1/status", undefined, bearer(tokens["reader"]))).status;
  expect(await asked()).toBe(200);
  access.replace({ ...policy, tokens: [] });
  expect(await asked()).toBe(401);
  access.replace(policy);
  expect(await asked()).toBe(200);
});
