/**
 * Checks requests against schemas.ts and says in one sentence what is wrong and where. Unlike Fastify's own
 * validator it neither removes unknown fields nor changes types: what is not understood is refused.
 */
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { FastifySchemaCompiler, FastifyServerOptions } from "fastify";

import { didYouMean } from "./suggestion.ts";

const options = { verbose: true, useDefaults: true } as const;
const exact = new Ajv(options);
// A query and a path are text: there "20" may be the number 20.
const fromText = new Ajv({ ...options, coerceTypes: true });
for (const ajv of [exact, fromText]) ajv.addFormat("date-time", true).addFormat("uri", true);

/** Compiled when the first request comes that it is for: most daemons are asked a few of all the things that they could be. */
const validatorCompiler: FastifySchemaCompiler<object> = ({ schema, httpPart }) => {
  let fits: ValidateFunction | null = null;
  const validate: ReturnType<FastifySchemaCompiler<object>> = (data) => {
    fits ??= (httpPart === "body" ? exact : fromText).compile(schema);
    const isFit = fits(data);
    validate.errors = fits.errors ?? null;
    return isFit;
  };
  return validate;
};

type Compilers = NonNullable<NonNullable<FastifyServerOptions["schemaController"]>["compilersFactory"]>;

/**
 * In place of Fastify's own, which are large, and whose types describe what they are and not what is called. The schemas of answers are
 * documentation and are held by tests; a second serialiser would only drop fields.
 */
export const COMPILERS = {
  buildValidator: () => validatorCompiler,
  buildSerializer: () => () => (data: unknown) => JSON.stringify(data),
} as unknown as Compilers;

type Complaint = Pick<ErrorObject, "instancePath" | "keyword" | "params"> & {
  readonly message?: string | undefined;
  readonly parentSchema?: unknown;
};

interface Described {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly anyOf?: readonly { readonly const?: unknown }[];
}

/** `where` is Fastify's name for the part of the request: body, querystring, params, headers. */
export function sentenceOf(complaints: readonly Complaint[], where: string): string {
  // The last one is the outermost: the others are why each branch of a union did not fit.
  const complaint = complaints.at(-1);
  if (complaint === undefined) return `The ${where} is not valid.`;
  const schema = (complaint.parentSchema ?? {}) as Described;
  const place = placeOf(complaint.instancePath, where);
  const params = complaint.params as Readonly<Record<string, unknown>>;
  if (complaint.keyword === "additionalProperties") {
    const name = String(params["additionalProperty"]);
    const known = Object.keys(schema.properties ?? {});
    const what = known.length === 0 ? "It takes no fields." : `It may have ${known.join(", ")}.`;
    return `${place} has an unknown field "${name}".${didYouMean(name, known)} ${what}`;
  }
  if (complaint.keyword === "required") return `${place} lacks "${String(params["missingProperty"])}".`;
  const choices = schema.anyOf?.map((branch) => branch.const);
  if (choices?.every((choice) => typeof choice === "string") === true) {
    return `${place} must be one of ${choices.join(", ")}.`;
  }
  if (schema.description !== undefined && ["anyOf", "pattern"].includes(complaint.keyword)) {
    return `${place} must be ${schema.description}.`;
  }
  return `${place} ${complaint.message ?? "is not valid"}.`;
}

/** "/steps/0/weight" is `steps[0].weight` to the one who wrote it. */
function placeOf(pointer: string, where: string): string {
  const path = pointer
    .split("/")
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");
  if (path === "") return where === "body" ? "The body" : "The query";
  return `"${path}" of the ${where === "body" ? "body" : where === "querystring" ? "query" : "path"}`;
}
