import { createHash } from "node:crypto";

import { expect, onTestFinished, test, vi } from "vitest";

import { late } from "../../handoff/late.ts";
import { comparison, findToken, mintToken, parseTokens } from "../../admin-api/tokens.ts";
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

test("every token is compared in constant time with every entry, by digests of one length", () => {
  const more = Array.from({ length: 40 }, (_, index) => ({ name: `t${index}`, role: "read" as const }));
  const { entries, tokens } = keyRing(more);
  const first = tokens["reader"] ?? "";
  const compared = vi.spyOn(comparison, "isEqual");
  onTestFinished(() => compared.mockRestore());
  // The first, the last, one that is almost right, and others that are nothing at all.
  for (const token of [first, tokens["t39"] ?? "", `${first.slice(0, -1)}!`, "", "x".repeat(4096)]) {
    compared.mockClear();
    findToken(entries, token);
    const digest = createHash("sha256").update(token).digest();
    expect(compared.mock.calls).toEqual(
      entries.map(({ credential }) => [credential.kind === "token" && credential.digest, digest]),
    );
  }
  compared.mockRestore();
  const constant = vi.spyOn(late.crypto, "timingSafeEqual");
  onTestFinished(() => constant.mockRestore());
  const [one, other] = [Buffer.from("a"), Buffer.from("b")];
  expect(comparison.isEqual(one, other)).toBe(false);
  expect(constant.mock.calls).toEqual([[one, other]]);
});
