import { createHash } from "node:crypto";
import { performance } from "node:perf_hooks";

import { expect, test } from "vitest";

import { findToken, mintToken, parseTokens } from "../../admin-api/tokens.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import { keyRing } from "./tcp.ts";

const HASH = createHash("sha256").update("hd_secret").digest("hex");

test("a line says who, what for, until when, and which credential", () => {
  const text = `# who may
ci deploy sha256:${HASH} services=api,web expires=2027-01-31   # until the audit

robot  admin	cert:cn=robot.example.org
other read cert:dns=other.test
third read cert:sha256=${HASH.toUpperCase().replaceAll(/(..)(?=.)/gu, "$1:")}
`;
  expect(parseTokens(text, "tokens")).toEqual([
    {
      name: "ci",
      role: "deploy",
      credential: { kind: "token", digest: Buffer.from(HASH, "hex") },
      services: ["api", "web"],
      expiresAt: Date.parse("2027-01-31T00:00:00Z"),
    },
    {
      name: "robot",
      role: "admin",
      credential: { kind: "cn", value: "robot.example.org" },
      services: null,
      expiresAt: null,
    },
    {
      name: "other",
      role: "read",
      credential: { kind: "dns", value: "other.test" },
      services: null,
      expiresAt: null,
    },
    {
      name: "third",
      role: "read",
      credential: { kind: "fingerprint", value: HASH },
      services: null,
      expiresAt: null,
    },
  ]);
});

test.each([
  ["ci deploy", "it has 2 of the three fields"],
  [`c/i deploy sha256:${HASH}`, "the name must be"],
  [`ci root sha256:${HASH}`, "must be read, deploy or admin"],
  ["ci deploy hd_secret", "the credential must be sha256:"],
  ["ci deploy sha256:hd_secret", "the credential must be sha256:"],
  ["ci deploy cert:cn=", "the credential must be sha256:"],
  [`ci deploy sha256:${HASH} services=a,,b`, "names of services"],
  [`ci deploy sha256:${HASH} expires=soon`, "expires= takes a date"],
  [`ci deploy sha256:${HASH} hd_secret`, "only services= and expires="],
])("the line %j is refused with its number and without what stands there", (line, why) => {
  let message = "";
  try {
    parseTokens(`# first\n${line}\n`, "/etc/tokens");
  } catch (error) {
    expect(hasCode(error, "TOKENS_INVALID")).toBe(true);
    message = String(error);
  }
  expect(message).toContain("/etc/tokens, line 2: ");
  expect(message).toContain(why);
  expect(message).not.toContain("secret");
});

test("a token that was made is let in by its line, and no other is", () => {
  const { token, line } = mintToken({ name: "ci", role: "deploy", services: ["api"], expires: "2027-01-31" });
  expect(token).toMatch(/^hd_[A-Za-z0-9_-]{43}$/u);
  expect(line).not.toContain(token.slice(3));
  const entries = parseTokens(line, "tokens");
  expect(findToken(entries, token)).toMatchObject({ name: "ci", services: ["api"] });
  expect(findToken(entries, token.slice(0, -1))).toBeNull();
  expect(findToken(entries, "")).toBeNull();
  expect(mintToken({ name: "ci", role: "deploy" }).token).not.toBe(token);
});

test.each([
  { name: "c i", role: "read" },
  { name: "ci", role: "boss" },
  { name: "ci", role: "read", services: ["a b"] },
  { name: "ci", role: "read\nroot admin", services: [] },
  { name: "ci", role: "read", expires: "never" },
  { name: "#ci", role: "read" },
])("a line that a file could not have is not made: %j", (request) => {
  expect(() => mintToken(request)).toThrow();
});

test("how long a look-up takes does not tell how much of a token was right, nor whose it is", () => {
  const more = Array.from({ length: 40 }, (_, index) => ({ name: `t${index}`, role: "read" as const }));
  const { entries, tokens } = keyRing(more);
  const candidates = {
    first: tokens["reader"] ?? "",
    last: tokens["t39"] ?? "",
    almost: `${(tokens["reader"] ?? "").slice(0, -1)}!`,
    nothing: "hd_".padEnd(46, "x"),
  };
  // The fastest of many: what disturbs only ever adds. Interleaved, so that it disturbs all of them.
  const best = new Map<string, number>();
  for (let round = 0; round < 400; round += 1) {
    for (const [name, token] of Object.entries(candidates)) {
      const startedAt = performance.now();
      for (let n = 0; n < 10; n += 1) findToken(entries, token);
      best.set(name, Math.min(best.get(name) ?? Infinity, performance.now() - startedAt));
    }
  }
  const times = [...best.values()];
  // An early exit at the first of 43 entries would be a factor of several.
  expect(Math.max(...times) / Math.min(...times)).toBeLessThan(1.6);
});
