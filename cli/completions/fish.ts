import type { OptionFacts, Program, Verb } from "../command-tree.ts";
import { candidatesOf, type Candidates, header, HELP, quoted, valueCandidates } from "./words.ts";

export function fishCompletion(program: Program): string {
  const { name, options, verbs } = program;
  const firsts = new Map<string, Verb[]>();
  for (const verb of verbs) {
    const [first = ""] = verb.name.split(" ");
    firsts.set(first, [...(firsts.get(first) ?? []), verb]);
  }
  const lines = [
    `# ${header(program)}`,
    `complete -c ${name} -f`,
    ...[...options, HELP].map((option) => line(name, null, optionWords(name, option))),
    "",
  ];
  for (const [first, [verb, ...others]] of firsts) {
    if (verb === undefined) continue;
    const isGroup = verb.name !== first || others.length > 0;
    lines.push(
      line(
        name,
        "__fish_use_subcommand",
        `-a ${quoted(first)} -d ${quoted(isGroup ? `${first} …` : verb.summary)}`,
      ),
    );
    const condition = `__fish_seen_subcommand_from ${first}`;
    for (const each of [verb, ...others]) {
      const second = each.name.split(" ")[1];
      if (second !== undefined)
        lines.push(line(name, condition, `-a ${quoted(second)} -d ${quoted(each.summary)}`));
      for (const option of each.options) lines.push(line(name, condition, optionWords(name, option)));
      for (const [place, argument] of each.arguments.entries()) {
        const words = wordsOf(name, candidatesOf(argument));
        if (words === null) continue;
        // The words that are there already, without the options: the program, the verb, and the arguments before.
        const count = 1 + each.name.split(" ").length + place;
        const isHere = `test (count (__fish_print_cmd_without_options)) -eq ${count}`.replace(
          "__fish_print_cmd_without_options",
          `commandline -opc | string match -v -- '-*'`,
        );
        lines.push(line(name, `${condition}; and ${isHere}`, words));
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

function line(name: string, condition: string | null, words: string): string {
  return `complete -c ${name}${condition === null ? "" : ` -n ${doubleQuoted(condition)}`} ${words}`;
}

function optionWords(name: string, option: OptionFacts): string {
  const short = option.short === null ? "" : ` -s ${option.short.slice(1)}`;
  const candidates = option.value === null ? null : (wordsOf(name, valueCandidates(option)) ?? "");
  const value = candidates === null ? "" : ` -r${candidates === "" ? "" : ` ${candidates}`}`;
  return `-l ${option.long.slice(2)}${short}${value} -d ${quoted(option.summary)}`;
}

function wordsOf(name: string, candidates: Candidates): string | null {
  switch (candidates.kind) {
    case "words":
      return `-a ${quoted(candidates.words.join(" "))}`;
    case "files":
      return "-F";
    case "names":
      return `-a '(${name} _names ${candidates.of} 2> /dev/null)'`;
    case "nothing":
      return null;
  }
}

function doubleQuoted(text: string): string {
  return `"${text}"`;
}
