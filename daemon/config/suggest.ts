import { closest } from "../../admin-api/suggestion.ts";

/** The way out for an unknown word: `did you mean "x"?`, or what there is. */
export function suggestion(word: string, known: readonly string[]): string {
  const near = closest(word, known);
  if (near !== null) return `did you mean "${near}"?`;
  return known.length === 0 ? "there is none" : `there is ${known.map((name) => `"${name}"`).join(", ")}`;
}
