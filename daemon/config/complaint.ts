/** Says a misfit with the schema as a person would: what is wrong; why; the way out. */
import type { ErrorObject } from "ajv";
import { messageOf } from "../../handoff/coded-error.ts";
import type { Path, Report, Source } from "./problem.ts";
import { suggestion } from "./suggest.ts";
import { VALUES, type ValueKind } from "./values.ts";

export interface Misfit {
  readonly error: ErrorObject;
  readonly path: Path;
}

/** The words of the schema that this file reads. */
interface SchemaWords {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaWords>>;
  readonly anyOf?: readonly { readonly type?: string }[];
  readonly "x-expected"?: string;
  readonly "x-names"?: string;
  readonly "x-value"?: ValueKind;
}

/** What the schema says of a value for other validators, and its reader says better. */
const READER_KNOWS = new Set(["pattern", "minimum", "exclusiveMaximum"]);

/**
 * One complaint for each place: of several alternatives only the one that was meant, and the reader's sentence
 * before the pattern's.
 */
export function relevant(misfits: readonly Misfit[]): Misfit[] {
  const alternatives = misfits.filter(({ error }) => error.keyword === "anyOf");
  const kept = misfits.filter((misfit) => {
    const { error } = misfit;
    if (error.keyword === "anyOf") return meantBranch(error) === null;
    return alternatives.every(
      (other) =>
        other === misfit ||
        !error.schemaPath.startsWith(`${other.error.schemaPath}/`) ||
        !error.instancePath.startsWith(other.error.instancePath) ||
        error.schemaPath.startsWith(`${other.error.schemaPath}/${meantBranch(other.error) ?? "none"}/`),
    );
  });
  const said = (keyword: string): Set<string> =>
    new Set(kept.filter(({ error }) => error.keyword === keyword).map(({ error }) => error.instancePath));
  const [readers, discriminators] = [said("x-value"), said("discriminator")];
  return kept.filter(({ error: { keyword, instancePath } }) => {
    if (READER_KNOWS.has(keyword)) return !readers.has(instancePath);
    return keyword !== "required" || !discriminators.has(instancePath);
  });
}

/** A mapping was meant to be the alternative that is a mapping. */
function meantBranch(error: ErrorObject): number | null {
  if (!isMapping(error.data)) return null;
  const index = (wordsOf(error).anyOf ?? []).findIndex((schema) => schema.type === "object");
  return index < 0 ? null : index;
}

export function complain({ error, path }: Misfit, source: Source, report: Report): void {
  const words = wordsOf(error);
  switch (error.keyword) {
    case "additionalProperties":
      report.wrongKey([...path, String(error.params["additionalProperty"])], unknownKey(error, words));
      return;
    case "required":
      report.wrongKey(path, missingKey(String(error.params["missingProperty"]), words));
      return;
    case "discriminator":
      complainAboutKind(error, path, report);
      return;
    case "x-value":
      report.wrong(path, error.message ?? "is not as expected");
      return;
    default:
      report.wrong(path, misfit(error, path, words, source));
  }
}

function unknownKey(error: ErrorObject, words: SchemaWords): string {
  const key = String(error.params["additionalProperty"]);
  if (words["x-names"] !== undefined)
    return `"${key}" cannot be used here; this is ${words["x-names"]}; rename it`;
  if (key === "<<")
    return 'merge keys ("<<") are not part of YAML 1.2 and are not followed; write the keys out';
  const known = Object.keys(words.properties ?? {});
  return `"${key}" is not a key here, and would have no effect; ${suggestion(key, known)}`;
}

function missingKey(key: string, words: SchemaWords): string {
  const description = words.properties?.[key]?.description ?? "";
  const expected = words.properties?.[key]?.["x-expected"];
  const why = description === "" ? "" : ` (${description.split(". ")[0]?.replace(/\.$/u, "") ?? ""})`;
  return `"${key}" is missing${why}; it has no default; add ${expected === undefined ? "it" : `${key}: with ${expected}`}`;
}

const KINDS = ["notify", "listening", "http", "delay"];

/** `ready` is told apart by its `by`. */
function complainAboutKind(error: ErrorObject, path: Path, report: Report): void {
  const kind: unknown = error.params["tagValue"];
  if (kind === undefined) {
    report.wrongKey(path, `"by" is missing; it says what proves readiness; add by: ${KINDS.join(", ")}`);
    return;
  }
  report.wrong(
    [...path, "by"],
    `${shown(kind)} is not a proof of readiness; ${suggestion(typeof kind === "string" ? kind : "", KINDS)}`,
  );
}

function misfit(error: ErrorObject, path: Path, words: SchemaWords, source: Source): string {
  const found = shown(error.data);
  const expected = words["x-expected"] ?? "something else";
  const limit = String(error.params["limit"]);
  switch (error.keyword) {
    case "type":
      return wrongType(error, words, source.written(path));
    case "enum": {
      const known = (error.params["allowedValues"] as unknown[]).map(String);
      const hint = suggestion(typeof error.data === "string" ? error.data : "", known);
      return `${found} is not one of ${known.join(", ")}; ${hint.startsWith("did") ? hint : "write one of them"}`;
    }
    case "minimum":
      return `${found} is too small; needed is ${expected}; write ${limit} or more`;
    case "maximum":
      return `${found} is too large; needed is ${expected}; write ${limit} or less`;
    case "minItems":
      return `the list is empty; needed is ${expected}; fill it or remove the key`;
    case "maxItems":
      return `the list has ${(error.data as unknown[]).length} entries, and ${limit} is the most; merge or remove some`;
    case "minProperties":
      return `the mapping is empty; ${words.description ?? "a key is needed"}; add one or remove the mapping`;
    case "minLength":
      return "the text is empty, which means nothing here; fill it or remove the key";
    default:
      return `${found} does not fit; needed is ${expected}; write that instead`;
  }
}

function wrongType(error: ErrorObject, words: SchemaWords, written: string | null): string {
  const expected = words["x-expected"] ?? "something else";
  if (error.data === null) return `there is no value; needed is ${expected}; write it or remove the key`;
  const found = shown(error.data, written);
  const scalar = typeof error.data === "number" || typeof error.data === "boolean";
  if (error.params["type"] !== "string" || !scalar) {
    const hint =
      typeof error.data === "string" && /^[\d.-]+$|^(true|false)$/u.test(error.data)
        ? "remove the quotes"
        : "";
    return `${found} is ${kindOf(error.data)}; needed is ${expected}; ${hint === "" ? "write that instead" : hint}`;
  }
  const text = written ?? JSON.stringify(error.data);
  const refusal = refusalOf(words["x-value"], text);
  if (refusal !== null) return refusal;
  const why = typeof error.data === "number" ? ", and YAML would turn 1.10 into 1.1 and 0660 into 660" : "";
  return `${found} is ${kindOf(error.data)}${why}; needed is ${expected}; write it in quotes: "${text}"`;
}

/** What the reader says of a bare number, such as that its unit is missing; null when it would take it as text. */
function refusalOf(kind: ValueKind | undefined, text: string): string | null {
  if (kind === undefined) return null;
  try {
    VALUES[kind](text);
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

function wordsOf(error: ErrorObject): SchemaWords {
  return (error.parentSchema ?? {}) as SchemaWords;
}

function isMapping(data: unknown): boolean {
  return typeof data === "object" && data !== null && !Array.isArray(data);
}

function kindOf(data: unknown): string {
  if (Array.isArray(data)) return "a list";
  if (isMapping(data)) return "a mapping";
  if (typeof data === "number") return "a number";
  return typeof data === "boolean" ? "a boolean" : "text";
}

const LONGEST_SHOWN = 80;

function shown(data: unknown, written: string | null = null): string {
  if (typeof data === "object" && data !== null) return "this";
  if (typeof data !== "string") return written ?? String(data);
  return `"${data.length > LONGEST_SHOWN ? `${data.slice(0, LONGEST_SHOWN)}…` : data}"`;
}
