/**
 * What can be wrong with a configuration. A finding says it in terms of keys; with a source it becomes a problem,
 * which says it in terms of lines. All of a file's problems are reported together, in the order of the lines.
 */
import { CodedError } from "../../handoff/coded-error.ts";

export type Path = readonly (string | number)[];

export interface Finding {
  /** Where it is; the nearest thing that is there is pointed at. */
  readonly path: Path;
  /** Whether the key itself is wrong, or what it says. */
  readonly at: "key" | "value";
  /** What is wrong; why; the way out. */
  readonly message: string;
  /** Allowed, but probably not meant. */
  readonly warning: boolean;
  /** What is wrong when it is not in the file: the name of an environment variable. */
  readonly origin: string | null;
  /** Where it is when no key tells. */
  readonly place: Place | null;
}

/** Both begin at 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface Problem {
  /** The keys, as in `services.api.verify[0].timeout`; "" for the whole file. */
  readonly path: string;
  /** Both begin at 1; 0 for what has no place in a file. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** `FILE:LINE:COL: what is wrong; why; way out` */
  readonly text: string;
}

/** Where the values come from: a file, or the command line. */
export interface Source {
  /** The file's name as it was given, or "arguments". */
  readonly name: string;
  locate(path: Path, at: Finding["at"]): Place | null;
  /** A scalar as it is written, such as `1.10` or `0660`; null when there is no scalar. */
  written(path: Path): string | null;
}

/** Collects findings. The checks have one of these and nothing else to say things with. */
export class Report {
  readonly findings: Finding[] = [];

  #add(path: Path, message: string, extra: Partial<Finding>): void {
    this.findings.push({
      path,
      message,
      at: "value",
      warning: false,
      origin: null,
      place: null,
      ...extra,
    });
  }

  wrong(path: Path, message: string): void {
    this.#add(path, message, {});
  }

  wrongKey(path: Path, message: string): void {
    this.#add(path, message, { at: "key" });
  }

  wrongSyntax(place: Place, message: string): void {
    this.#add([], message, { place });
  }

  wrongVariable(variable: string, message: string): void {
    this.#add([], message, { origin: variable });
  }

  warn(path: Path, message: string): void {
    this.#add(path, message, { at: "key", warning: true });
  }
}

export function formatPath(path: Path): string {
  return path
    .map((part, index) => (typeof part === "number" ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join("");
}

function problemOf(finding: Finding, source: Source): Problem {
  const place = finding.origin === null ? (finding.place ?? source.locate(finding.path, finding.at)) : null;
  const where =
    place === null ? (finding.origin ?? source.name) : `${source.name}:${place.line}:${place.column}`;
  const path = formatPath(finding.path);
  const message = path === "" ? finding.message : `${path}: ${finding.message}`;
  return {
    path,
    line: place?.line ?? 0,
    column: place?.column ?? 0,
    message,
    text: `${where}: ${message}`,
  };
}

function sorted(findings: readonly Finding[], source: Source): Problem[] {
  return findings
    .map((finding) => problemOf(finding, source))
    .sort((a, b) => a.line - b.line || a.column - b.column || (a.message < b.message ? -1 : 1));
}

/** The warnings, as text. */
export function warningsOf(report: Report, source: Source): string[] {
  const found = report.findings.filter((finding) => finding.warning);
  return sorted(found, source).map((problem) => problem.text);
}

/**
 * @throws CodedError CONFIG_INVALID with `details.problems` when there is anything but warnings.
 */
export function throwIfWrong(report: Report, source: Source): void {
  const problems = sorted(
    report.findings.filter((finding) => !finding.warning),
    source,
  );
  if (problems.length === 0) return;
  const count = problems.length === 1 ? "one problem" : `${problems.length} problems`;
  const lines = problems.map((problem) => `\n  ${problem.text}`).join("");
  throw new CodedError(
    "CONFIG_INVALID",
    `${source.name} has ${count}, and nothing of it was applied:${lines}`,
    {
      details: { file: source.name, problems },
    },
  );
}
