import type { OptionFacts, Program, Verb } from "../command-tree.ts";
import {
  candidatesOf,
  type Candidates,
  header,
  HELP,
  spellings,
  takingValues,
  valueCandidates,
} from "./words.ts";

/** For bash 4 and later, with nothing but bash. Verbs of two words are completed word by word. */
export function bashCompletion(program: Program): string {
  const { name, options, verbs } = program;
  const all = [...options, ...verbs.flatMap((verb) => verb.options)];
  const valued = [...new Set(takingValues(all).flatMap(spellings))];
  return `# ${header(program)}
_${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  local verb= place=0 index word skip=
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=\${COMP_WORDS[index]}
    if [[ -n $skip ]]; then
      skip=
    elif [[ $word == -* ]]; then
      case $word in ${valued.join(" | ")}) skip=1 ;; esac
    else
      case "$verb $word" in
        ${[...firstWords(verbs)].flatMap(([first, rest]) => [`' ${first}'`, ...rest.map((second) => `'${first} ${second}'`)]).join(" | ")}) verb="\${verb:+$verb }$word" ;;
        *) ((place++)) ;;
      esac
    fi
  done
  if [[ -n $skip ]]; then
    case $previous in
${valueCases(name, all)}
    esac
    return
  fi
  if [[ $current == -* ]]; then
    case $verb in
${verbs.map((verb) => `      '${verb.name}') _${name}_words ${longNames([...verb.options, ...options])} ;;`).join("\n")}
      *) _${name}_words ${longNames(options)} ;;
    esac
    return
  fi
  case "$verb:$place" in
    :0) _${name}_words ${[...firstWords(verbs).keys()].join(" ")} ;;
${[...firstWords(verbs)].flatMap(([first, rest]) => (rest.length === 0 ? [] : [`    ${first}:0) _${name}_words ${rest.join(" ")} ;;`])).join("\n")}
${verbs.flatMap((verb) => argumentCases(name, verb)).join("\n")}
  esac
}

_${name}_words() {
  mapfile -t COMPREPLY < <(compgen -W "$*" -- "$current")
}

_${name}_names() {
  _${name}_words $(${name} _names "$1" 2> /dev/null)
}

complete -o bashdefault -F _${name} ${name}
`.replaceAll(/\n\n+(?= {2})/gu, "\n");
}

/** The first word of each verb, with the second ones. */
function firstWords(verbs: readonly Verb[]): ReadonlyMap<string, readonly string[]> {
  const words = new Map<string, readonly string[]>();
  for (const { name } of verbs) {
    const [first = "", ...rest] = name.split(" ");
    words.set(first, [...(words.get(first) ?? []), ...rest]);
  }
  return words;
}

function longNames(options: readonly OptionFacts[]): string {
  return [...new Set([...options, HELP].map(({ long }) => long))].join(" ");
}

function valueCases(name: string, all: readonly OptionFacts[]): string {
  const cases = new Map<string, string[]>();
  for (const option of takingValues(all)) {
    const act = actOf(name, valueCandidates(option));
    if (act !== null) cases.set(act, [...new Set([...(cases.get(act) ?? []), ...spellings(option)])]);
  }
  return [...cases].map(([act, names]) => `      ${names.join(" | ")}) ${act} ;;`).join("\n");
}

function argumentCases(name: string, verb: Verb): readonly string[] {
  return verb.arguments.flatMap((argument, place) => {
    const act = actOf(name, candidatesOf(argument));
    return act === null ? [] : [`    '${verb.name}:${place}') ${act} ;;`];
  });
}

function actOf(name: string, candidates: Candidates): string | null {
  switch (candidates.kind) {
    case "words":
      return `_${name}_words ${candidates.words.join(" ")}`;
    case "files":
      return 'mapfile -t COMPREPLY < <(compgen -f -- "$current")';
    case "names":
      return `_${name}_names ${candidates.of}`;
    case "nothing":
      return null;
  }
}
