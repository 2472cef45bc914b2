/** A program's verbs as data, read off commander: for completions, manual pages and docs/cli.md, which so cannot say anything else. */
import type { Command, Option } from "commander";

export interface Program {
  readonly name: string;
  readonly summary: string;
  /** Those that stand before the verb, or behind it. */
  readonly options: readonly OptionFacts[];
  readonly verbs: readonly Verb[];
}

export interface Verb {
  /** `token new`: what is typed. */
  readonly name: string;
  /** `deploy [options] <service> [version]`. */
  readonly usage: string;
  readonly summary: string;
  readonly arguments: readonly ArgumentFacts[];
  readonly options: readonly OptionFacts[];
}

export interface ArgumentFacts {
  readonly name: string;
  readonly summary: string;
  readonly isRequired: boolean;
  readonly isVariadic: boolean;
  readonly choices: readonly string[];
}

export interface OptionFacts {
  /** `-c`; null: it has none. */
  readonly short: string | null;
  readonly long: string;
  /** `<file>`; null: it takes no value. */
  readonly value: string | null;
  readonly summary: string;
  readonly choices: readonly string[];
}

export function describeProgram(program: Command): Program {
  return {
    name: program.name(),
    summary: program.description(),
    options: optionsOf(program),
    verbs: program.commands.flatMap((command) => verbsOf(command, "")),
  };
}

/** A name that begins with an underscore is between the completions and the program. */
function verbsOf(command: Command, before: string): readonly Verb[] {
  if (command.name().startsWith("_")) return [];
  const name = before + command.name();
  if (command.commands.length > 0) return command.commands.flatMap((inner) => verbsOf(inner, `${name} `));
  const given = command.registeredArguments.map((argument) => ({
    name: argument.name(),
    summary: argument.description,
    isRequired: argument.required,
    isVariadic: argument.variadic,
    choices: argument.argChoices ?? [],
  }));
  const options = optionsOf(command);
  const words = given.map(({ name: word, isRequired, isVariadic }) => {
    const inner = `${word}${isVariadic ? "..." : ""}`;
    return isRequired ? `<${inner}>` : `[${inner}]`;
  });
  const usage = [name, ...(options.length === 0 ? [] : ["[options]"]), ...words].join(" ");
  return [{ name, usage, summary: command.description(), arguments: given, options }];
}

function optionsOf(command: Command): readonly OptionFacts[] {
  return command.options.filter(({ hidden }) => !hidden).map(factsOf);
}

function factsOf({ short, long, flags, description, argChoices }: Option): OptionFacts {
  return {
    short: short ?? null,
    long: long ?? "",
    value: /<[^>]+>/u.exec(flags)?.[0] ?? null,
    summary: description,
    choices: argChoices ?? [],
  };
}
