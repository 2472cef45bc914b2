/**
 * Whether a value fits the schema, compiled. Compiling takes twenty megabytes and a good part of a daemon's start: the bundle has
 * what the compiler makes of it in this module's place (tools/bundle.mjs).
 */
import { Ajv } from "ajv";
import { readValue } from "./read-value.ts";
import { ConfigFileSchema } from "./schema.ts";

const ajv = new Ajv({
  allErrors: true,
  verbose: true,
  discriminator: true,
  strictTypes: false,
  code: { source: true },
});
ajv.addVocabulary(["x-expected", "x-names", "x-default"]);
ajv.addKeyword({ keyword: "x-value", type: ["string", "number"], errors: true, validate: readValue });

export const fits = ajv.compile(ConfigFileSchema);
