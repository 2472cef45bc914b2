import { readFileSync } from "node:fs";

import { Validator } from "@seriousme/openapi-schema-validator";
import { expect, test } from "vitest";

import { describeApi } from "../../admin-api/openapi.ts";
import { root } from "../support/paths.ts";
import { serve } from "./serving.ts";

const document = describeApi();
const operations = Object.values(document.paths).flatMap((path) => Object.values(path));

test("docs/openapi.json is what the routes say", () => {
  const committed: unknown = JSON.parse(readFileSync(`${root}/docs/openapi.json`, "utf8"));
  expect(committed, "run `npm run generate`").toEqual(JSON.parse(JSON.stringify(document)));
});

test("the API serves the document", async () => {
  const { ask } = await serve();
  const { status, headers, body } = await ask("GET", "/openapi.json");
  expect([status, headers["content-type"]]).toEqual([200, "application/json; charset=utf-8"]);
  expect(body).toEqual(JSON.parse(JSON.stringify(document)));
});

test("it is OpenAPI 3.1 to someone else's validator, which finds what is wrong in another", async () => {
  const valid = async (candidate: unknown) =>
    new Validator().validate(JSON.parse(JSON.stringify(candidate)) as Record<string, unknown>);
  expect(await valid(document)).toMatchObject({ valid: true });
  const { paths, ...rest } = document;
  const [path = "", methods] = Object.entries(paths)[0] ?? [];
  expect((await valid({ ...rest, paths: { [path.slice(1)]: methods } })).valid).toBe(false);
  expect((await valid({ ...document, openapi: "3.2" })).valid).toBe(false);
});

test("every operation has an id of its own, a sentence and its statuses", () => {
  const ids = operations.map(({ operationId }) => operationId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const operation of operations) {
    expect(operation["summary"]).toMatch(/^[A-Z].*\.$/u);
    expect(Object.keys(operation.responses).length).toBeGreaterThan(1);
  }
});

test("every reference leads somewhere", () => {
  const known = Object.keys((document["components"] as { schemas: object }).schemas);
  const referred = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/gu)].map(
    ([, name = ""]) => name,
  );
  expect(referred.length).toBeGreaterThan(50);
  expect(referred.filter((name) => !known.includes(name))).toEqual([]);
});
