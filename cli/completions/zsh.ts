import type { OptionFacts, Program, Verb } from "../command-tree.ts";
import { candidatesOf, type Candidates, header, HELP, quoted, valueCandidates } from "./words.ts";

/** For a file `_PROGRAM` in a folder of fpath. */
export function zshCompletion(program: Program): string {
  const { name, options, verbs } = program;
  const groups = new Map<string, Verb[]>();
  for (const verb of verbs) {
    const [first = ""] = verb.name.split(" ");
    groups.set(first, [...(groups.get(first) ?? []), verb]);
  }
  const firsts = [...groups].map(([first, [verb, ...others]]) => {
    const isGroup = verb?.name !== first || others.length > 0;
    return `    ${quoted(`${first}:${isGroup ? `${first} …` : verb.summary}`)}`;
  });
  const cases = [...groups].map(
    ([first, inner]) => `        ${first})\n${actOfGroup(program, first, inner)}\n          ;;`,
  );
  return `#compdef ${name}
# ${header(program)}
_${name}() {
  local curcontext=$curcontext state line
  typeset -A opt_args
  local -a verbs=(
${firsts.join("\n")}
  )
  _arguments -C \\
${[...options, HELP].map((option) => `    ${spec(name, option)} \\`).join("\n")}
    '1: :->verb' '*:: :->rest'
  case $state in
    verb) _describe -t verbs verb verbs ;;
    rest)
      case $words[1] in
${cases.join("\n")}
      esac
      ;;
  esac
}

_${name}_names() {
  local -a names=(\${(f)"$(${name} _names $1 2> /dev/null)"})
  compadd -a names
}

_${name} "$@"
`;
}

function actOfGroup(program: Program, first: string, verbs: readonly Verb[]): string {
  const [verb] = verbs;
  if (verb?.name === first) return argumentsOf(program, verb, 1);
  const seconds = verbs.map(({ name, summary }) => quoted(`${name.split(" ")[1] ?? ""}:${summary}`));
  const inner = verbs.map((each) => {
    return `            ${each.name.split(" ")[1] ?? ""})\n${argumentsOf(program, each, 2)}\n              ;;`;
  });
  return `          if ((CURRENT == 2)); then
            local -a seconds=(${seconds.join(" ")})
            _describe -t verbs verb seconds
          else
            case $words[2] in
${inner.join("\n")}
            esac
          fi`;
}

/** \`place\`: where the first argument stands, in the words behind the program's name. */
function argumentsOf({ name, options }: Program, verb: Verb, place: number): string {
  const lines = [
    ...[...verb.options, ...options, HELP].map((option) => spec(name, option)),
    ...(place === 2 ? ["'1: :'"] : []),
    ...verb.arguments.map((argument, index) => {
      const where = argument.isVariadic ? "*" : String(index + place);
      return quoted(`${where}:${argument.name}:${actOf(name, candidatesOf(argument))}`);
    }),
  ];
  return `          _arguments \\\n${lines.map((each) => `            ${each}`).join(" \\\n")}`;
}

function spec(name: string, option: OptionFacts): string {
  const { short, long, value, summary } = option;
  const text = `[${summary.replaceAll(/[[\]:]/gu, (sign) => `\\${sign}`)}]`;
  const word =
    value === null
      ? ""
      : `:${value.replace(/^<|>$/gu, "").replaceAll(":", String.raw`\:`)}:${actOf(name, valueCandidates(option))}`;
  if (short === null) return quoted(`${long}${text}${word}`);
  return `'(${short} ${long})'{${short},${long}}${quoted(`${text}${word}`)}`;
}

function actOf(name: string, candidates: Candidates): string {
  switch (candidates.kind) {
    case "words":
      return `(${candidates.words.join(" ")})`;
    case "files":
      return "_files";
    case "names":
      return `_${name}_names ${candidates.of}`;
    case "nothing":
      return " ";
  }
}
