/**
 * Holds a value against the schema. What does not fit is reported, and left out of the draft that is returned, so
 * that the checks of meaning can look at everything else and all is said at once.
 */
import { complain, relevant, type Misfit } from "./complaint.ts";
import { misfitsOf, type SchemaError } from "./fits.ts";
import type { Path, Report, Source } from "./problem.ts";
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
  const errors = misfitsOf(draft);
  const misfits = relevant(errors.map((error) => ({ error, path: pathOf(error, draft) })));
  // All is said before anything is left out: the sentences look at the values.
  for (const misfit of misfits) complain(misfit, source, report);
  for (const misfit of misfits) leaveOut(draft, misfit);
  return draft as ConfigDraft;
}

type Container = Record<string | number, unknown>;

function pathOf(error: SchemaError, draft: unknown): Path {
  let at = draft;
  return error.instancePath
    .split("/")
    .slice(1)
    .map((part) => {
      const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
      const step = Array.isArray(at) ? Number(key) : key;
      at = (at as Container)[step];
      return step;
    });
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

function unknownKey(error: SchemaError): string {
  return String(error.params["additionalProperty"]);
}
