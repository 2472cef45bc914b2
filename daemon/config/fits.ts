/**
 * Whether a value fits the schema, compiled. Compiling takes twenty megabytes and a good part of a daemon's start: the bundle has
 * what the compiler makes of it in this module's place (tools/bundle.mjs). What an error is about is left out of it, which is a quarter
 * of that program: validate.ts looks it up.
 */
import { Ajv } from "ajv";
import { readValue } from "./read-value.ts";
import { ConfigFileSchema } from "./schema.ts";

const ajv = new Ajv({
  allErrors: true,
  messages: false,
  discriminator: true,
  strictTypes: false,
  code: { source: true },
});
ajv.addVocabulary(["x-expected", "x-names", "x-default"]);
ajv.addKeyword({ keyword: "x-value", type: ["string", "number"], errors: true, validate: readValue });

export const fits = ajv.compile(ConfigFileSchema);

/** As it stands, for whoever wants to say what an error is about. */
export const schema: object = ConfigFileSchema;
