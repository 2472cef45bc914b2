/** A YAML 1.2 text: its value, and where each part of it stands. */
import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type ErrorCode,
  type YAMLError,
} from "yaml";
import { messageOf } from "../../handoff/coded-error.ts";
import { Report, throwIfWrong, type Path, type Place, type Source } from "./problem.ts";

export interface YamlSource extends Source {
  /** The whole text as plain data. */
  readonly value: unknown;
}

/** An alias may be used so often that a short text becomes a huge value; a configuration needs few. */
const MOST_ALIASES = 1000;

/** What to do about the errors of the `yaml` package, by their stable codes. */
const WAYS_OUT: Partial<Record<ErrorCode, string>> = {
  BAD_INDENT: "align it with its neighbours, and close what was opened",
  BAD_SCALAR_START: "write the value in quotes",
  BLOCK_AS_IMPLICIT_KEY: "is a line indented too far, or a quote missing around a value that has a colon?",
  DUPLICATE_KEY: "the second would silently win; remove one or rename it",
  MISSING_CHAR: "close what was opened, and mind the space after a colon",
  MULTILINE_IMPLICIT_KEY: "is the colon missing after a key?",
  MULTIPLE_DOCS: 'one file is one configuration; remove the "---" and what follows it',
  TAB_AS_INDENT: "YAML is indented with spaces; replace the tab",
  TAG_RESOLVE_FAILED: "tags (!…) are not used here; remove it",
};

/**
 * @param name the file's name, for messages
 * @throws CodedError CONFIG_INVALID when it is not one YAML document that is a mapping
 */
export function parseYaml(name: string, text: string): YamlSource {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    version: "1.2",
    merge: false,
    prettyErrors: false,
    lineCounter: lines,
  });
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const source: Source = {
    name,
    locate: (path, at) => place(find(document, path)[at]),
    written: (path) => find(document, path).written,
  };
  const report = new Report();
  for (const error of [...document.errors, ...document.warnings]) {
    report.wrongSyntax(place(error.pos[0]), sentence(error));
  }
  checkNodes(document, (offset, message) => report.wrongSyntax(place(offset), message));
  throwIfWrong(report, source);
  const value = valueOf(document, report);
  throwIfWrong(report, source);
  return { ...source, value };
}

function sentence(error: YAMLError): string {
  const what = error.message.charAt(0).toLowerCase() + error.message.slice(1).replace(/;.*/su, "");
  return `this is not YAML: ${what}; ${WAYS_OUT[error.code] ?? "compare with the example in docs/configuration.md"}`;
}

/** What the package would find only later, without a line, or would do silently. */
function checkNodes(document: Document.Parsed, wrong: (offset: number, message: string) => void): void {
  if (document.directives.yaml.version !== "1.2") {
    wrong(
      0,
      "the file asks for another YAML than 1.2, in which a bare yes or 0660 means something else; remove %YAML",
    );
  }
  visit(document, {
    Alias: (_, alias) => {
      if (alias.resolve(document) !== undefined) return;
      wrong(
        alias.range?.[0] ?? 0,
        `the alias *${alias.source} has no anchor before it; write &${alias.source} where the value is`,
      );
    },
    Pair: (_, pair) => {
      if (isScalar(pair.key) && pair.key.value !== null) return;
      const offset = isNode(pair.key) ? (pair.key.range?.[0] ?? 0) : 0;
      wrong(
        offset,
        "a key here is not a word; keys are plain text; is a quote missing, as in {version} without quotes?",
      );
    },
  });
}

function valueOf(document: Document.Parsed, report: Report): unknown {
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    report.wrong(
      [],
      `${messageOf(error)}; aliases that multiply could fill the memory; write the values out`,
    );
    return undefined;
  }
  if (value === null) {
    report.wrong(
      [],
      'the file is empty; there is nothing to listen on or to run; write "listeners:" and "services:"',
    );
  } else if (typeof value !== "object" || Array.isArray(value)) {
    report.wrong(
      [],
      'the file is not a mapping; it consists of sections; begin with "listeners:" and "services:"',
    );
  }
  return value;
}

interface Found {
  /** Offsets in the text. */
  readonly key: number;
  readonly value: number;
  readonly written: string | null;
}

/** The place of a path, or of as much of it as there is. */
function find(document: Document.Parsed, path: Path): Found {
  let node: unknown = document.contents;
  let key = 0;
  let value = startOf(node) ?? 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === part);
      if (pair === undefined) return { key, value: key, written: null };
      key = startOf(pair.key) ?? key;
      node = pair.value;
      // An empty value has no place of its own that anyone would recognize.
      value = isScalar(node) && node.source === "" ? key : (startOf(node) ?? key);
    } else if (isSeq(node) && typeof part === "number" && part < node.items.length) {
      node = node.items[part];
      key = startOf(node) ?? key;
      value = key;
    } else {
      return { key, value: key, written: null };
    }
  }
  return { key, value, written: isScalar(node) ? (node.source ?? null) : null };
}

function startOf(node: unknown): number | null {
  return isNode(node) ? (node.range?.[0] ?? null) : null;
}
