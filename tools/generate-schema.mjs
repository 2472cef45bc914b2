// The shipped JSON Schema, the reference in docs/configuration.md and docs/openapi.json, from the schemas in the code.
//   node tools/generate-schema.mjs --write    after `npm run build`
//   node tools/generate-schema.mjs            fails when a file is not what the code says
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SCHEMA_FILE = new URL("../packaging/handoffd.schema.json", import.meta.url);
const OPENAPI_FILE = new URL("../docs/openapi.json", import.meta.url);
const DOCS_FILE = new URL("../docs/configuration.md", import.meta.url);
const BEGIN = "<!-- reference: generated from the schema by tools/generate-schema.mjs; do not edit below -->";
const END = "<!-- reference: end -->";

/** The text of packaging/handoffd.schema.json. Our own keywords are left out. */
export function renderSchema(schema) {
  const shipped = { $schema: "http://json-schema.org/draft-07/schema#", title: "handoffd.yaml", ...schema };
  // `discriminator` belongs to OpenAPI, and draft-07 validators that are strict refuse it.
  const ours = (key) => key.startsWith("x-") || key === "discriminator";
  return `${JSON.stringify(shipped, (key, value) => (ours(key) ? undefined : value), 2)}\n`;
}

/** docs/configuration.md with its generated part renewed. */
export function renderDocs(docs, schema) {
  const begin = docs.indexOf(BEGIN);
  const end = docs.indexOf(END);
  if (begin < 0 || end < begin)
    throw new Error(`docs/configuration.md lacks the lines "${BEGIN}" and "${END}"`);
  return `${docs.slice(0, begin + BEGIN.length)}\n\n${renderReference(schema)}\n${docs.slice(end)}`;
}

function renderReference(schema) {
  const sections = [];
  describe("", schema, sections);
  return sections.join("\n");
}

/** One section for each mapping, its nested mappings after it. Keys that mean the same share a row and a section. */
function describe(path, schema, sections) {
  const groups = new Map();
  const required = new Set(schema.required ?? []);
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    const same = JSON.stringify([child, required.has(key)]);
    groups.set(same, { keys: [...(groups.get(same)?.keys ?? []), key], child });
  }
  const rows = [];
  const nested = [];
  for (const { keys, child } of groups.values()) {
    rows.push([
      keys.map((key) => `\`${key}\``).join(", "),
      kindOf(child),
      required.has(keys[0]) ? "required" : fallback(child),
      `${child.description ?? ""}${examples(child)}`,
    ]);
    const inner = innerOf(child);
    const name = `${path}${keys.length === 1 ? keys[0] : "KEY"}${inner.suffix}`;
    for (const each of inner.schema?.oneOf ?? [])
      nested.push([`${name} (by: ${each.properties.by.const})`, each]);
    if (inner.schema?.properties) nested.push([name, inner.schema]);
  }
  const title = path === "" ? "The file" : `\`${path.replace(/\.$/u, "")}\``;
  const sentence = schema.description ? [`${schema.description.replace(/\.$/u, "")}.`, ""] : [];
  sections.push([`### ${title}`, "", ...sentence, table(rows), ""].join("\n"));
  for (const [name, child] of nested) describe(`${name}.`, child, sections);
}

/** The mapping inside a map of names, a list, or an alternative. */
function innerOf(schema) {
  if (schema.patternProperties)
    return { suffix: ".NAME", schema: Object.values(schema.patternProperties)[0] };
  if (schema.type === "array") return { suffix: "[]", schema: schema.items };
  if (schema.anyOf) return { suffix: "", schema: schema.anyOf.find((each) => each.type === "object") };
  return { suffix: "", schema };
}

function kindOf(schema) {
  if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(", ");
  if (schema.const !== undefined) return `\`${schema.const}\``;
  return schema["x-expected"]?.replaceAll(/\[(.*?)\]|\{(.*?)\}/gu, "`$&`") ?? schema.type;
}

function fallback(schema) {
  if (schema["x-default"]) return schema["x-default"];
  return schema.default === undefined ? "—" : `\`${inline(schema.default)}\``;
}

function examples(schema) {
  if (!schema.examples) return "";
  return ` Example: ${schema.examples.map((value) => `\`${inline(value)}\``).join(", ")}.`;
}

/** A value as one would write it in the file, on one line. */
function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  // Numbers that are masks rather than amounts.
  if (Number.isInteger(value) && value > 0 && value % 0x10000 === 0) return `0x${value.toString(16)}`;
  if (typeof value !== "object") return String(value);
  return `{ ${Object.entries(value)
    .map(([key, inner]) => `${key}: ${inline(inner)}`)
    .join(", ")} }`;
}

/** Aligned, as prettier would have it. */
function table(rows) {
  const all = [["key", "value", "default", "meaning"], ...rows].map((row) =>
    row.map((cell) => cell.replaceAll("|", "\\|")),
  );
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((row) => row[column].length), 3));
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(" | ")} |`;
  const [head, ...body] = all;
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...body.map(line)].join(
    "\n",
  );
}

async function main(write) {
  const { ConfigFileSchema } = await import("../dist/daemon/config/schema.js");
  const { describeApi } = await import("../dist/admin-api/openapi.js");
  const { format, resolveConfig } = await import("prettier");
  const style = await resolveConfig(fileURLToPath(SCHEMA_FILE));
  const docs = readFileSync(DOCS_FILE, "utf8");
  const openApi = JSON.stringify(describeApi(), null, 2);
  const wanted = [
    [OPENAPI_FILE, await format(openApi, { ...style, parser: "json" })],
    [SCHEMA_FILE, await format(renderSchema(ConfigFileSchema), { ...style, parser: "json" })],
    [DOCS_FILE, renderDocs(docs, ConfigFileSchema)],
  ];
  for (const [file, text] of wanted) {
    if (write) writeFileSync(file, text);
    else if (readFileSync(file, "utf8") !== text) {
      console.error(
        `${fileURLToPath(file)} is not what the code says: run \`node tools/generate-schema.mjs --write\``,
      );
      process.exitCode = 1;
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.includes("--write"));
