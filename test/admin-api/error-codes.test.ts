import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename } from "node:path";

import { expect, test } from "vitest";

import { PROBLEMS } from "../../admin-api/problem.ts";
import { root } from "../support/paths.ts";

const CODE = /"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"/gu;
const MADE = /(?:new CodedError\(\s*|\bcode: )"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"/gu;

/** Files in which any literal is a code. */
const ALL_LITERALS = ["errors.ts", "reasons.ts", "judgement.ts"];

/** Every code that a room can give, with the file that makes it. */
function codesOf(room: string): Map<string, string> {
  if (!existsSync(`${root}/${room}`)) return new Map();
  const files = readdirSync(`${root}/${room}`, { recursive: true, encoding: "utf8" });
  const found = files
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => {
      const pattern = ALL_LITERALS.includes(basename(file)) ? CODE : MADE;
      const text = readFileSync(`${root}/${room}/${file}`, "utf8");
      return [...text.matchAll(pattern)].map(([, code = ""]) => [code, `${room}/${file}`] as const);
    });
  return new Map(found);
}

const codes = new Map(
  ["handoff", "deploy", "daemon", "admin-api", "cli"].flatMap((room) => [...codesOf(room)]),
);

/** Code to status (a number, or where else it is seen), as docs/errors.md has it. */
const documented = new Map(
  [...readFileSync(`${root}/docs/errors.md`, "utf8").matchAll(/^\| `(\w+)` +\| (\w+) +\|/gmu)].map(
    ([, code = "", status = ""]) => [code, status] as const,
  ),
);

test("every code of the code is in docs/errors.md", () => {
  const missing = [...codes]
    .filter(([code]) => !documented.has(code))
    .map(([code, file]) => `${code} of ${file}`);
  expect(missing).toEqual([]);
});

test("every code of docs/errors.md is made by the code", () => {
  expect([...documented.keys()].filter((code) => !codes.has(code) && code !== "INTERNAL")).toEqual([]);
});

test("the status of docs/errors.md is the one that the API answers with", () => {
  const answered = [...documented].filter(([, status]) => /^\d+$/.test(status));
  expect(Object.fromEntries(answered)).toEqual(
    Object.fromEntries(Object.entries(PROBLEMS).map(([code, { status }]) => [code, String(status)])),
  );
});

test("there are codes to compare", () => {
  expect(codes.get("HANDOFF_TIMEOUT")).toBe("handoff/errors.ts");
  expect(codes.size).toBeGreaterThan(40);
});
