/**
 * Holds a value against the schema of the configuration, and says everything that does not fit. The schema is walked as it is: what
 * a compiler (ajv) makes of it are 650 KB of program for a value that is looked at once, a seventh of a daemon's start. The words
 * of JSON Schema that schema*.ts uses mean here what they mean there, in all detail; test/daemon/config/fits.test.ts compares.
 */
import { messageOf } from "../../handoff/coded-error.ts";
import { ConfigFileSchema } from "./schema.ts";
import { VALUES, type ValueKind } from "./values.ts";

/** The words that a schema here may have, without those that only describe (see schema-values.ts). */
export interface SchemaWords {
  readonly type?: TypeName | readonly TypeName[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMaximum?: number;
  readonly items?: SchemaWords;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, SchemaWords>>;
  readonly patternProperties?: Readonly<Record<string, SchemaWords>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false;
  readonly minProperties?: number;
  readonly anyOf?: readonly SchemaWords[];
  /** With `oneOf`, of which the branch counts that has the value's own word in `properties`. */
  readonly discriminator?: { readonly propertyName: string };
  readonly oneOf?: readonly SchemaWords[];
  readonly description?: string;
  readonly "x-value"?: ValueKind;
  readonly "x-expected"?: string;
  readonly "x-names"?: string;
}

type TypeName = "object" | "array" | "string" | "number" | "integer" | "boolean" | "null";

export interface SchemaError {
  /** A JSON pointer into the value. */
  readonly instancePath: string;
  /** A JSON pointer into the schema, which ends with `keyword`. */
  readonly schemaPath: string;
  readonly keyword: string;
  /** What the keyword says more: `additionalProperty`, `missingProperty`, `type`, `limit`, `allowedValues`, `tagValue`. */
  readonly params: Readonly<Record<string, unknown>>;
  /** What the reader of its kind says of a value (`x-value`). */
  readonly message?: string;
  readonly data: unknown;
  /** The schema that `keyword` stands in. */
  readonly words: SchemaWords;
}

/** What does not fit, all of it; nothing when the value has the type ConfigFile. */
export function misfitsOf(value: unknown): readonly SchemaError[] {
  const found: SchemaError[] = [];
  look({ data: value, words: ConfigFileSchema as SchemaWords, instancePath: "", schemaPath: "#", found });
  return found;
}

interface Place {
  readonly data: unknown;
  readonly words: SchemaWords;
  readonly instancePath: string;
  readonly schemaPath: string;
  readonly found: SchemaError[];
}

function look(place: Place): void {
  const { data, words } = place;
  lookAtType(place);
  if (words.const !== undefined && data !== words.const) add(place, "const", { allowedValue: words.const });
  if (words.enum?.includes(data) === false) add(place, "enum", { allowedValues: words.enum });
  if (words.anyOf !== undefined) lookAtAlternatives(place, words.anyOf);
  if (typeof data === "string" || isNumber(data)) lookAtScalar(place, data);
  else if (Array.isArray(data)) lookAtList(place, data);
  else if (isMapping(data)) lookAtMapping(place, data);
}

function add(
  { data, words, instancePath, schemaPath, found }: Place,
  keyword: string,
  params: SchemaError["params"] = {},
): void {
  found.push({ instancePath, schemaPath: `${schemaPath}/${keyword}`, keyword, params, data, words });
}

function lookAtType(place: Place): void {
  const { type } = place.words;
  if (type === undefined) return;
  const types = typeof type === "string" ? [type] : type;
  if (!types.some((each) => isOfType(place.data, each))) add(place, "type", { type });
}

function isOfType(data: unknown, type: TypeName): boolean {
  switch (type) {
    case "object":
      return isMapping(data);
    case "array":
      return Array.isArray(data);
    case "number":
      return isNumber(data);
    case "integer":
      return Number.isInteger(data);
    case "null":
      return data === null;
    case "string":
    case "boolean":
      return typeof data === type;
  }
}

/** The first that fits is enough. Where none does, what each has against it stays said. */
function lookAtAlternatives(place: Place, alternatives: readonly SchemaWords[]): void {
  const { found, schemaPath } = place;
  const before = found.length;
  for (const [index, words] of alternatives.entries()) {
    const reached = found.length;
    look({ ...place, words, schemaPath: `${schemaPath}/anyOf/${index}` });
    if (found.length > reached) continue;
    found.length = before;
    return;
  }
  add(place, "anyOf");
}

function lookAtScalar(place: Place, data: string | number): void {
  const { words } = place;
  if (typeof data === "number") {
    const { minimum = -Infinity, maximum = Infinity, exclusiveMaximum = Infinity } = words;
    if (data > maximum) add(place, "maximum", { limit: maximum });
    if (data < minimum) add(place, "minimum", { limit: minimum });
    if (data >= exclusiveMaximum) add(place, "exclusiveMaximum", { limit: exclusiveMaximum });
  } else {
    if (data.length < (words.minLength ?? 0)) add(place, "minLength", { limit: words.minLength });
    if (words.pattern !== undefined && !matches(words.pattern, data)) add(place, "pattern");
  }
  const kind = words["x-value"];
  if (kind !== undefined) readValue(place, kind, data);
}

/** The last word on a string has the reader of its kind (values.ts). */
function readValue(
  { words, instancePath, schemaPath, found }: Place,
  kind: ValueKind,
  data: string | number,
) {
  // A number where text is needed is said to be one by the look at its type.
  if (typeof data === "number" && kind !== "weight") return;
  try {
    VALUES[kind](String(data));
  } catch (error) {
    const [keyword, message] = ["x-value", messageOf(error)];
    const rest = { params: {}, message, data, words };
    found.push({ instancePath, schemaPath: `${schemaPath}/${keyword}`, keyword, ...rest });
  }
}

function lookAtList(place: Place, data: readonly unknown[]): void {
  const { items, maxItems = Infinity, minItems = 0 } = place.words;
  if (data.length > maxItems) add(place, "maxItems", { limit: maxItems });
  if (data.length < minItems) add(place, "minItems", { limit: minItems });
  if (items === undefined) return;
  for (const [index, item] of data.entries()) inside(place, String(index), item, items, "items");
}

function lookAtMapping(place: Place, data: Readonly<Record<string, unknown>>): void {
  const { words } = place;
  const { properties = {}, patternProperties = {}, required = [], minProperties = 0 } = words;
  if (Object.keys(data).length < minProperties) add(place, "minProperties", { limit: minProperties });
  for (const key of required) if (data[key] === undefined) add(place, "required", { missingProperty: key });
  const patterns = Object.entries(patternProperties);
  for (const [key, value] of Object.entries(data)) {
    const matching = patterns.filter(([pattern]) => matches(pattern, key));
    const own = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (words.additionalProperties === false && own === undefined && matching.length === 0)
      add(place, "additionalProperties", { additionalProperty: key });
    if (own !== undefined && value !== undefined) inside(place, key, value, own, `properties/${key}`);
    for (const [pattern, each] of matching)
      inside(place, key, value, each, `patternProperties/${escape(pattern)}`);
  }
  if (words.discriminator !== undefined) lookAtKind(place, data, words.discriminator.propertyName);
}

function inside(place: Place, key: string, data: unknown, words: SchemaWords, path: string): void {
  look({
    data,
    words,
    instancePath: `${place.instancePath}/${escape(key)}`,
    schemaPath: `${place.schemaPath}/${path}`,
    found: place.found,
  });
}

function lookAtKind(place: Place, data: Readonly<Record<string, unknown>>, tag: string): void {
  const { oneOf = [] } = place.words;
  const tagValue = data[tag];
  const index = oneOf.findIndex(({ properties }) => properties?.[tag]?.const === tagValue);
  const words = oneOf[index];
  if (words === undefined || typeof tagValue !== "string") add(place, "discriminator", { tag, tagValue });
  else look({ ...place, words, schemaPath: `${place.schemaPath}/oneOf/${index}` });
}

const patterns = new Map<string, RegExp>();

function matches(pattern: string, text: string): boolean {
  let compiled = patterns.get(pattern);
  if (compiled === undefined) patterns.set(pattern, (compiled = new RegExp(pattern, "u")));
  return compiled.test(text);
}

function isNumber(data: unknown): data is number {
  return typeof data === "number" && Number.isFinite(data);
}

function isMapping(data: unknown): data is Readonly<Record<string, unknown>> {
  return typeof data === "object" && data !== null && !Array.isArray(data);
}

/** RFC 6901, section 4. */
function escape(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}
