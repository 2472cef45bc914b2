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

const always = (): boolean => true;
const otherThan = (value: unknown) => (found: unknown) => found !== value;
const notEmpty = (found: unknown): boolean => Array.isArray(found) && found.length > 0;

const NOT_YET: readonly NotYet[] = [
  {
    path: ["services", "*", "deploy", "strategy"],
    asksFor: otherThan(DEFAULTS.strategy),
    what: "this strategy",
    wayOut: `use ${DEFAULTS.strategy}`,
  },
  {
    path: ["services", "*", "deploy", "steps"],
    asksFor: always,
    what: "moving the traffic in steps",
    wayOut: "use bake: for the time in which the way back is instant",
  },
  {
    path: ["services", "*", "deploy", "share"],
    asksFor: otherThan(DEFAULTS.share),
    what: "keeping a client with one generation",
    wayOut: `use ${DEFAULTS.share}`,
  },
  {
    path: ["services", "*", "deploy", "pin"],
    asksFor: notEmpty,
    what: "sending networks of clients to the candidate",
    wayOut: "use verify: its requests reach the candidate alone",
  },
  {
    path: ["services", "*", "deploy", "floor"],
    asksFor: otherThan(DEFAULTS.floor),
    what: "a floor under the serving instances",
    wayOut: `use ${DEFAULTS.floor}`,
  },
  {
    path: ["services", "*", "deploy", "watch", "queue"],
    asksFor: otherThan(DEFAULTS.watchQueue),
    what: "going back because of a queue",
    wayOut: "use exits:, which is watched",
  },
  {
    path: ["services", "*", "deploy", "analysis"],
    asksFor: always,
    what: "analysis of a candidate",
    wayOut: "use verify: with a command",
  },
  {
    path: ["services", "*", "fdstore", "max"],
    asksFor: otherThan(DEFAULTS.fdstoreMax),
    what: "keeping an application's descriptors",
    wayOut: `use ${DEFAULTS.fdstoreMax}`,
  },
  {
    path: ["services", "*", "external"],
    asksFor: always,
    what: "adopting instances that someone else starts",
    wayOut: "use command: alone",
  },
  {
    path: ["admin", "socket", "roles"],
    asksFor: always,
    what: "telling callers apart by roles",
    wayOut: "use mode: and group: of the socket, as whoever may connect to it may do everything",
  },
  {
    path: ["admin", "http"],
    asksFor: always,
    what: "the API by TCP",
    wayOut: "use admin.socket",
  },
  {
    path: ["metrics"],
    asksFor: always,
    what: "an own address for metrics",
    wayOut: "use GET /metrics on admin.socket",
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
