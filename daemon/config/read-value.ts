/** The last word on a string has the reader of its kind (values.ts): the keyword `x-value` of the schema. */
import type { SchemaValidateFunction } from "ajv";
import { messageOf } from "../../handoff/coded-error.ts";
import { VALUES, type ValueKind } from "./values.ts";

export const readValue: SchemaValidateFunction = (kind: ValueKind, value: string | number): boolean => {
  // A number where text is needed is said to be one by the check of its type.
  if (typeof value === "number" && kind !== "weight") return true;
  try {
    VALUES[kind](String(value));
    return true;
  } catch (error) {
    readValue.errors = [{ keyword: "x-value", message: messageOf(error), params: {} }];
    return false;
  }
};
