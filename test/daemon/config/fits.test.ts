/** The walk along the schema (daemon/config/fits.ts) beside what a compiler of JSON Schema makes of the same schema. */
import { Ajv, type SchemaValidateFunction } from "ajv";
import fc from "fast-check";
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { misfitsOf } from "../../../daemon/config/fits.ts";
import { ConfigFileSchema } from "../../../daemon/config/schema.ts";
import { parseYaml } from "../../../daemon/config/source.ts";
import { VALUES, type ValueKind } from "../../../daemon/config/values.ts";
import { messageOf } from "../../../handoff/coded-error.ts";
import { DESIGN, FULL } from "./good.ts";
import { refusalOrNull, repositoryFile } from "./support.ts";

const readValue: SchemaValidateFunction = (kind: ValueKind, value: string | number): boolean => {
  if (typeof value === "number" && kind !== "weight") return true;
  try {
    VALUES[kind](String(value));
    return true;
  } catch (error) {
    readValue.errors = [{ keyword: "x-value", message: messageOf(error), params: {} }];
    return false;
  }
};

/** Strict: a word of the schema that it does not know is an error. */
const ajv = new Ajv({ allErrors: true, verbose: true, discriminator: true, strictTypes: false });
ajv.addVocabulary(["x-expected", "x-names", "x-default"]);
ajv.addKeyword({ keyword: "x-value", type: ["string", "number"], errors: true, validate: readValue });
const compiled = ajv.compile(ConfigFileSchema);

const WALKED = new Set(
  "type const enum pattern minLength minimum maximum exclusiveMaximum items minItems maxItems properties patternProperties required additionalProperties minProperties anyOf discriminator oneOf x-value".split(
    " ",
  ),
);
const DESCRIBE = new Set(["description", "default", "examples", "x-expected", "x-names", "x-default"]);
const READ_PARAMS = new Set(
  "additionalProperty missingProperty type limit allowedValues tagValue".split(" "),
);

function comparable(
  errors: readonly {
    readonly instancePath: string;
    readonly schemaPath: string;
    readonly keyword: string;
    readonly params: Readonly<Record<string, unknown>>;
    readonly message?: string | undefined;
    readonly data?: unknown;
  }[],
): string[] {
  return errors
    .map(({ keyword, instancePath, schemaPath, params, message, data }) =>
      JSON.stringify([
        instancePath,
        decodeURIComponent(schemaPath),
        keyword,
        Object.entries(params).filter(([name]) => READ_PARAMS.has(name)),
        keyword === "x-value" ? message : null,
        data,
      ]),
    )
    .sort();
}

function assertAlike(value: unknown): number {
  compiled(value);
  const found = comparable(misfitsOf(value));
  expect(found).toEqual(comparable(compiled.errors ?? []));
  return found.length;
}

const GOOD: readonly unknown[] = [parse(FULL), parse(DESIGN)];

test("what is right is right for both", () => {
  for (const value of GOOD) expect(assertAlike(value)).toBe(0);
});

test("of every wrong example both say the same", () => {
  const folder = repositoryFile("test/daemon/config/bad");
  let found = 0;
  for (const name of readdirSync(folder).filter((each) => each.endsWith(".yaml"))) {
    const text = readFileSync(`${folder}/${name}`, "utf8");
    // Of what is no YAML nobody asks whether it fits.
    const isYaml = refusalOrNull(() => parseYaml(name, text)) === null;
    if (isYaml) found += assertAlike(parseYaml(name, text).value);
  }
  expect(found).toBeGreaterThan(40);
});

/** Every place of a value, as the keys that lead there. */
function* placesOf(value: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  yield path;
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) yield* placesOf(inner, [...path, key]);
}

function changed(good: unknown, path: readonly string[], to: unknown): unknown {
  const [last] = path.slice(-1);
  if (last === undefined) return to;
  const copy: unknown = structuredClone(good);
  let at = copy as Record<string, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
  at[last] = to;
  return copy;
}

test("of whatever stands at any place both say the same", { timeout: 120_000 }, () => {
  const spoiling = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom("", "5%", "500", "1.10", "a/b~c", "notify", "http", 0, 1, -1, 1.5, 1e10, null, true),
    fc.dictionary(fc.constantFrom("by", "soft", "path", "address", "a/b~c", "0"), fc.jsonValue()),
  );
  let found = 0;
  for (const good of GOOD) {
    const places = [...placesOf(good)];
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), spoiling), { minLength: 1, maxLength: 3 }), (changes) => {
        let value = good;
        for (const [place, to] of changes) {
          const path = places[place % places.length] ?? [];
          try {
            value = changed(value, path, to);
          } catch {
            // A change before has taken the place away.
          }
        }
        found += assertAlike(value);
      }),
      { numRuns: 1_500 },
    );
  }
  expect(found).toBeGreaterThan(1_000);
});

test("there is no word in the schema that is not looked at", () => {
  const unknown = new Set<string>();
  const visit = (schema: unknown): void => {
    for (const [word, inner] of Object.entries(schema as Record<string, unknown>)) {
      if (!WALKED.has(word) && !DESCRIBE.has(word)) unknown.add(word);
      if (["properties", "patternProperties", "anyOf", "oneOf"].includes(word))
        Object.values(inner as object).forEach(visit);
      else if (word === "items") visit(inner);
      else if (word === "additionalProperties") expect(inner).toBe(false);
    }
  };
  visit(ConfigFileSchema);
  expect([...unknown]).toEqual([]);
});
