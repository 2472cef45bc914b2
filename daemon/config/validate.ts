/**
 * Holds a value against the schema. What does not fit is reported, and left out of the draft that is returned, so
 * that the checks of meaning can look at everything else and all is said at once.
 */
import type { ErrorObject } from "ajv";
import { complain, relevant, type Misfit } from "./complaint.ts";
import { fits, schema } from "./fits.ts";
import type { Report, Source } from "./problem.ts";
import type { ConfigFile } from "./schema.ts";

/** As the type says, but any part may be missing, because it was wrong. */
export type Draft<T> = T extends readonly (infer Item)[]
  ? readonly (Draft<Item> | undefined)[]
  : T extends object
    ? { readonly [Key in keyof T]?: Draft<T[Key]> | undefined }
    : T;

export type ConfigDraft = Draft<ConfigFile>;

/** Reports every misfit. The draft is a copy, and has the type ConfigFile when nothing was reported. */
export function validateShape(value: unknown, source: Source, report: Report): ConfigDraft {
  const draft: unknown = structuredClone(value);
  if (fits(draft)) return draft;
  const misfits = relevant((fits.errors ?? []).map((error) => misfitOf(error, draft)));
  // All is said before anything is left out: the sentences look at the values.
  for (const misfit of misfits) complain(misfit, source, report);
  for (const misfit of misfits) leaveOut(draft, misfit);
  return draft as ConfigDraft;
}

type Container = Record<string | number, unknown>;

/** With what the error is about, as the compiler's option `verbose` would have it. */
function misfitOf(error: ErrorObject, draft: unknown): Misfit {
  const path: (string | number)[] = [];
  let data = draft;
  for (const key of stepsOf(error.instancePath)) {
    const step = Array.isArray(data) ? Number(key) : key;
    path.push(step);
    data = (data as Container)[step];
  }
  // A fragment of a URI, and its last step is the keyword.
  const words = stepsOf(decodeURIComponent(error.schemaPath)).slice(0, -1);
  const parentSchema = words.reduce<unknown>((at, step) => (at as Container)[step], schema);
  return { error: { ...error, data, parentSchema: parentSchema as object }, path };
}

/** Of a JSON pointer (RFC 6901). */
function stepsOf(pointer: string): readonly string[] {
  const [, ...steps] = pointer.split("/");
  return steps.map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function leaveOut(draft: unknown, { error, path }: Misfit): void {
  // A missing key leaves nothing to remove, and what is there may be right.
  if (error.keyword === "required") return;
  const steps = error.keyword === "additionalProperties" ? [...path, unknownKey(error)] : path;
  const last = steps.at(-1);
  if (last === undefined) return;
  let at = draft;
  for (const step of steps.slice(0, -1)) {
    if (typeof at !== "object" || at === null) return;
    at = (at as Container)[step];
  }
  // In a list the place stays, so that the others keep their numbers.
  if (typeof at === "object" && at !== null) (at as Container)[last] = undefined;
}

function unknownKey(error: ErrorObject): string {
  return String(error.params["additionalProperty"]);
}
