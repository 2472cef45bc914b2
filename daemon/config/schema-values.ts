/**
 * The leaves of the schema. Beside the JSON Schema words they carry some of our own, which the shipped schema
 * leaves out: `x-value` names the reader of `values.ts` that has the last word on a string, `x-expected` says in
 * words what is expected here, `x-names` what the keys of a map are, `x-default` what holds otherwise where that is
 * no fixed value.
 */
import { Type, type TSchema, type TUnsafe } from "@sinclair/typebox";
import type { ValueKind } from "./values.ts";

interface Words {
  readonly description: string;
  readonly default?: unknown;
  readonly "x-default"?: string;
  readonly examples?: readonly unknown[];
}

/** Listeners and services: they stand in LISTEN_FDNAMES, paths, labels and URLs. */
export const NAME = "^[A-Za-z][A-Za-z0-9_-]{0,62}$";
export const VERSION = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$";

const EXPECTED: Record<ValueKind, readonly [string, string | undefined]> = {
  duration: ['a duration such as "30s", "1h30m" or "500ms"', "^(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?$"],
  weight: ['a percentage such as "5%", or a share such as 0.05', undefined],
  mode: ['an octal mode in quotes, such as "0660"', "^0?[0-7]{3}$"],
  signal: ["the name of a signal, such as SIGTERM", "^[A-Z0-9]+$"],
  backoff: ['a range of durations such as "1s..30s"', "^\\w+\\.\\.\\w+$"],
  path: ["an absolute path", "^/"],
  "socket-path": ["an absolute path of at most 107 bytes", "^/"],
  address: ['an address such as "tcp:0.0.0.0:8080" or "unix:/run/app.sock"', undefined],
  "tcp-address": ['an address such as "127.0.0.1:9700"', undefined],
  network: ['a network such as "10.1.0.0/16"', undefined],
  "prometheus-url": ['a URL such as "http://127.0.0.1:9090"', "^https?://"],
  text: ["text", undefined],
};

export function value(kind: ValueKind, words: Words) {
  const [expected, pattern] = EXPECTED[kind];
  return Type.String({
    ...(pattern === undefined ? {} : { pattern }),
    "x-value": kind,
    "x-expected": expected,
    ...words,
  });
}

/** A share of connections: text with a percentage, or a number below 1. */
export function weight(words: Words): TUnsafe<string | number> {
  return Type.Unsafe<string | number>({
    type: ["string", "number"],
    pattern: "^(\\d{1,2}(\\.\\d+)?%|0(\\.\\d+)?)$",
    minimum: 0,
    exclusiveMaximum: 1,
    "x-value": "weight" satisfies ValueKind,
    "x-expected": EXPECTED.weight[0],
    ...words,
  });
}

export function oneOf<const T extends string>(values: readonly T[], words: Words): TUnsafe<T> {
  return Type.Unsafe<T>({
    type: "string",
    enum: values,
    "x-expected": `one of ${values.join(", ")}`,
    ...words,
  });
}

export function whole(minimum: number, maximum: number, words: Words) {
  return Type.Integer({
    minimum,
    maximum,
    "x-expected": `a whole number of ${minimum} to ${maximum}`,
    ...words,
  });
}

export function flag(words: Words) {
  return Type.Boolean({ "x-expected": "true or false", ...words });
}

export function text(words: Words) {
  return Type.String({ minLength: 1, "x-expected": "text", "x-value": "text", ...words });
}

export function list<T extends TSchema>(
  items: T,
  words: Words & { readonly minItems?: number; readonly maxItems?: number },
) {
  return Type.Array(items, { "x-expected": "a list, as in [a, b]", ...words });
}

/** A program with its arguments. */
export function commandLine(words: Words) {
  return Type.Array(Type.String({ "x-expected": "text", "x-value": "text" }), {
    minItems: 1,
    "x-expected":
      "a list of the program and its arguments, as in [node, server.js], because there is no shell",
    ...words,
  });
}

/** A mapping with these keys and no others. */
export function mapping<T extends Record<string, TSchema>>(
  properties: T,
  words: Words & { readonly minProperties?: number },
) {
  return Type.Object(properties, {
    additionalProperties: false,
    "x-expected": "a mapping of keys to values",
    ...words,
  });
}

/** A mapping whose keys the user chooses. `names` says what the keys are. */
export function named<T extends TSchema>(pattern: string, names: string, schema: T, words: Words) {
  return Type.Record(Type.String({ pattern }), schema, {
    additionalProperties: false,
    "x-names": names,
    "x-expected": "a mapping of names to values",
    ...words,
  });
}

/** What may be written in place of a value, told apart by its type. `expected` describes all of it. */
export function either<T extends TSchema[]>(schemas: [...T], expected: string, words: Words) {
  return Type.Union(schemas, { "x-expected": expected, ...words });
}
