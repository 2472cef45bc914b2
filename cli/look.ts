/**
 * What a terminal can show: its width, its colours, its characters. Colours are only ever a repetition of what the
 * words say.
 *
 *   FORCE_COLOR (not 0)   colours, into a file too          force-color.org
 *   NO_COLOR              none                              no-color.org
 *   TERM=dumb, no terminal: none, and nothing that moves
 */

/** What a colour stands for. */
export type Tone = "title" | "good" | "busy" | "bad" | "quiet";

export interface Look {
  readonly columns: number;
  /** Whether blocks and ellipses are understood, by the locale. */
  readonly isUnicode: boolean;
  readonly paint: (tone: Tone, text: string) => string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What is known of an output stream: process.stdout, for one. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

const DEFAULT_COLUMNS = 80;
/** Narrower than this nothing is readable, and a terminal that says 0 does not know. */
const LEAST_COLUMNS = 20;

/** SGR parameters (ECMA-48) that both dark and light terminals show. */
const SGR: Readonly<Record<Tone, string>> = { title: "1", good: "32", busy: "33", bad: "31", quiet: "2" };

export const PLAIN: Look = { columns: DEFAULT_COLUMNS, isUnicode: true, paint: (_tone, text) => text };

export function lookOf(output: Output, environment: Environment): Look {
  const { columns = 0 } = output.isTTY === true ? output : {};
  return {
    columns: columns >= LEAST_COLUMNS ? columns : DEFAULT_COLUMNS,
    isUnicode: /utf-?8/iu.test(localeOf(environment)),
    paint: hasColours(output, environment) ? paint : PLAIN.paint,
  };
}

/** Whether lines may be drawn over: nothing that does not understand it must get a cursor movement. */
export function canMove({ isTTY = false }: Output, { TERM }: Environment): boolean {
  return isTTY && TERM !== "dumb" && TERM !== undefined && TERM !== "";
}

function hasColours(output: Output, environment: Environment): boolean {
  const { NO_COLOR: none, FORCE_COLOR: forced } = environment;
  if (forced !== undefined && forced !== "") return !["0", "false"].includes(forced);
  if (none !== undefined && none !== "") return false;
  return canMove(output, environment);
}

/** The first that is set decides, as in setlocale(3). */
function localeOf({ LC_ALL, LC_CTYPE, LANG }: Environment): string {
  return [LC_ALL, LC_CTYPE, LANG].find((value) => value !== undefined && value !== "") ?? "";
}

function paint(tone: Tone, text: string): string {
  return text === "" ? "" : `\u001b[${SGR[tone]}m${text}\u001b[0m`;
}
