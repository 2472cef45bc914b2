/** What the shells' completions have in common. */
import type { ArgumentFacts, OptionFacts, Program } from "../command-tree.ts";

/** What may stand in a place: fixed words, files, or names that the daemon is asked for. */
export type Candidates =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "files" }
  /** `handoffctl _names KIND` lists them. */
  | { readonly kind: "names"; readonly of: "services" | "deploys" }
  | { readonly kind: "nothing" };

export function candidatesOf({ name, choices }: Pick<ArgumentFacts, "name" | "choices">): Candidates {
  if (choices.length > 0) return { kind: "words", words: choices };
  if (name === "service") return { kind: "names", of: "services" };
  if (name === "deploy") return { kind: "names", of: "deploys" };
  return ["file", "path", "directory"].includes(name) ? { kind: "files" } : { kind: "nothing" };
}

export function valueCandidates({ value, choices }: OptionFacts): Candidates {
  return candidatesOf({ name: value?.replace(/^<|>$/gu, "") ?? "", choices });
}

export function spellings({ short, long }: OptionFacts): readonly string[] {
  return short === null ? [long] : [short, long];
}

export function takingValues(options: readonly OptionFacts[]): readonly OptionFacts[] {
  return options.filter(({ value }) => value !== null);
}

/** `--help` is everybody's. */
export const HELP: OptionFacts = {
  short: "-h",
  long: "--help",
  value: null,
  summary: "what there is to say on the command line",
  choices: [],
};

export function header(program: Program): string {
  return `Completion of ${program.name}. Generated from its command tree by tools/generate-cli.mjs.`;
}

/** As one word of a shell. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
