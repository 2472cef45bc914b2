/**
 * What the schema knows and this version does not do. Each is refused at load rather than ignored. When the work
 * arrives, its entry is deleted here, and nothing else has to change.
 */
import { DEFAULTS } from "./defaults.ts";
import type { Path, Report } from "./problem.ts";
import type { ConfigDraft } from "./validate.ts";

interface NotYet {
  /** `*` stands for every name. */
  readonly path: Path;
  /** Whether what stands there asks for it. */
  readonly asksFor: (value: unknown) => boolean;
  readonly what: string;
  readonly wayOut: string;
}

const otherThan = (value: unknown) => (found: unknown) => found !== value;

const NOT_YET: readonly NotYet[] = [
  {
    path: ["services", "*", "fdstore", "max"],
    asksFor: otherThan(DEFAULTS.fdstoreMax),
    what: "keeping an application's descriptors",
    wayOut: `use ${DEFAULTS.fdstoreMax}`,
  },
];

export function refuseNotYet(draft: ConfigDraft, report: Report): void {
  for (const entry of NOT_YET) {
    for (const { path, value } of matches(draft, entry.path)) {
      if (!entry.asksFor(value)) continue;
      report.notYet(
        path,
        `${entry.what} is not in this version; it would be ignored; remove it or ${entry.wayOut}`,
      );
    }
  }
}

function matches(draft: unknown, pattern: Path): { readonly path: Path; readonly value: unknown }[] {
  let found = [{ path: [] as Path, value: draft }];
  for (const step of pattern) {
    found = found.flatMap(({ path, value }) => {
      if (typeof value !== "object" || value === null) return [];
      return Object.entries(value)
        .filter(([key, inner]) => (step === "*" || step === key) && inner !== undefined)
        .map(([key, inner]: [string, unknown]) => ({ path: [...path, key], value: inner }));
    });
  }
  return found;
}
