/** The shipped schema and the reference are what the code says, and the code does what the schema says. */
import { Ajv } from "ajv";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { ConfigFileSchema } from "../../../daemon/config/schema.ts";
import { loadText, repositoryFile } from "./support.ts";

interface Generator {
  renderSchema(schema: unknown): string;
  renderDocs(docs: string, schema: unknown): string;
}

const generator = (await import(repositoryFile("tools/generate-schema.mjs"))) as Generator;
const read = (path: string): string => readFileSync(repositoryFile(path), "utf8");
const shipped: unknown = JSON.parse(read("packaging/handoffd.schema.json"));

const WAY_OUT = "run `npm run build && node tools/generate-schema.mjs --write`";

test("the shipped JSON Schema is the code's", () => {
  expect(shipped, WAY_OUT).toEqual(JSON.parse(generator.renderSchema(ConfigFileSchema)));
});

test("the reference in docs/configuration.md is the code's", () => {
  const docs = read("docs/configuration.md");
  expect(docs, WAY_OUT).toBe(generator.renderDocs(docs, ConfigFileSchema));
});

test("the shipped JSON Schema accepts the example with a validator that knows nothing of ours", () => {
  const accepts = new Ajv({ strictTypes: false }).compile(shipped as object);
  expect(accepts(parse(read("packaging/handoffd.example.yaml"))), JSON.stringify(accepts.errors)).toBe(true);
  expect(accepts({ listners: {} })).toBe(false);
});

interface Schema {
  readonly default?: unknown;
  readonly description?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
}

/** A value in which every key with a default is written out. */
function written(schema: Schema): unknown {
  if (schema.default !== undefined) return schema.default;
  const entries = Object.entries(schema.properties ?? {})
    .filter(([key]) => schema.required?.includes(key) !== true)
    .map(([key, inner]) => [key, written(inner)] as const)
    .filter(([, value]) => value !== undefined);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function named(schema: Schema, section: string): Record<string, unknown> {
  const [inner] = Object.values(schema.properties?.[section]?.patternProperties ?? {});
  return written(inner ?? {}) as Record<string, unknown>;
}

test("a file in which all the schema's defaults are written means the same as one without them", () => {
  const schema = ConfigFileSchema as Schema;
  const web = { address: "127.0.0.1:8080" };
  const api = { command: ["node"], listeners: ["web"] };
  const all = {
    ...(written(schema) as object),
    listeners: { web: { ...named(schema, "listeners"), ...web } },
    services: { api: { ...withoutAnalysis(named(schema, "services")), ...api } },
  };
  const short = { listeners: { web }, services: { api } };
  // JSON is YAML.
  const [full, brief] = [loadText(JSON.stringify(all)), loadText(JSON.stringify(short))];
  expect(JSON.stringify(all)).toContain('"backoff":"1s..30s"');
  expect({ ...full, file: null }).toEqual({ ...brief, file: null });
});

/** `analysis` has defaults inside, and is not there by default. */
function withoutAnalysis(service: Record<string, unknown>): Record<string, unknown> {
  const deploy = { ...(service["deploy"] as Record<string, unknown>) };
  delete deploy["analysis"];
  return { ...service, deploy };
}

test("everything in the schema has a description", () => {
  const silent: string[] = [];
  const visit = (path: string, schema: Schema): void => {
    const inside = { ...schema.properties, ...schema.patternProperties };
    for (const [key, inner] of Object.entries(inside)) {
      if (inner.description === undefined && !("patternProperties" in schema)) silent.push(`${path}.${key}`);
      visit(`${path}.${key}`, inner);
    }
  };
  visit("", ConfigFileSchema as Schema);
  expect(silent).toEqual([]);
});
