/** What `--json` gives: fields are only ever added. */
import type { Deploy, Phase } from "../../admin-api/schemas.ts";
import { durationOf } from "./attribution.ts";
import type { Finding } from "./findings.ts";
import { judge, place } from "./judgement.ts";
import type { Leftover, ListenerFacts, LoadCount, LoadName, LossKind, Observations } from "./observations.ts";
import type { Known } from "./processes.ts";

export interface DeployReport {
  /** 0: the start of the first generation. */
  readonly number: number;
  readonly from: number | null;
  readonly to: number;
  readonly phase: Phase;
  readonly reason: Deploy["reason"];
  /** Milliseconds; null: it did not come to it. */
  readonly readyMs: number | null;
  readonly drainMs: number | null;
  readonly lost: number;
}

export interface LostRow {
  readonly listener: string;
  readonly load: LoadName;
  readonly kind: LossKind;
  /** Between two deploys: null. */
  readonly phase: Phase | null;
  /** Whose connection it was; null: not known. */
  readonly generation: "old" | "new" | null;
  readonly count: number;
}

export interface Report {
  readonly service: string;
  readonly file: string;
  readonly strategy: Deploy["strategy"];
  readonly clean: boolean;
  readonly deploys: readonly DeployReport[];
  readonly listeners: readonly ListenerFacts[];
  readonly loads: readonly LoadCount[];
  readonly lost: readonly LostRow[];
  readonly findings: readonly Finding[];
  readonly notes: readonly string[];
  /** The application's last words; none where nothing was found. */
  readonly output: readonly string[];
}

export interface Circumstances {
  readonly file: string;
  readonly notes: readonly string[];
}

/** `left`: what was of the application when its daemon had ended. */
export function reportOf(
  observations: Observations,
  left: readonly Known[],
  { file, notes }: Circumstances,
): Report {
  const all = { ...observations, leftovers: joined(observations, left) };
  const findings = judge(all);
  const { service, strategy, listeners, counts } = all;
  return {
    service,
    file,
    strategy,
    clean: findings.length === 0,
    deploys: deploysOf(all),
    listeners,
    loads: counts,
    lost: lostRows(all),
    findings,
    notes: [...notes, ...notesOf(all)],
    output: findings.length === 0 ? [] : all.output,
  };
}

function joined({ leftovers, start, deploys }: Observations, left: readonly Known[]): readonly Leftover[] {
  const generation = (deploys.at(-1) ?? start).to;
  const known = new Set(leftovers.map(({ pid }) => pid));
  const others = left.filter(({ pid }) => !known.has(pid));
  return [...leftovers, ...others.map(({ pid, command }) => ({ pid, command, generation }))];
}

function deploysOf(observations: Observations): readonly DeployReport[] {
  const { start, deploys } = observations;
  const losses = place(observations);
  return [start, ...deploys].map((deploy, number) => ({
    number,
    from: deploy.from,
    to: deploy.to,
    phase: deploy.phase,
    reason: deploy.reason,
    readyMs: durationOf(deploy, "starting"),
    drainMs: durationOf(deploy, "draining"),
    lost: losses.filter((loss) => (loss.deploy ?? 0) === number).length,
  }));
}

function lostRows(observations: Observations): readonly LostRow[] {
  const rows = new Map<string, LostRow>();
  for (const { listener, load, kind, phase, side } of place(observations)) {
    const key = [listener, load, kind, phase, side].join(" ");
    const count = (rows.get(key)?.count ?? 0) + 1;
    rows.set(key, { listener, load, kind, phase, generation: side, count });
  }
  return [...rows.values()].sort((one, other) => other.count - one.count);
}

/** What was not tried, and why. */
function notesOf({ listeners, start, deploys, wanted }: Observations): readonly string[] {
  const last = deploys.at(-1) ?? start;
  const notes = listeners.flatMap(({ name, speaks, status, streamPath, keepsConnections, path }) => {
    if (speaks === "unknown") {
      return [
        `${name}: nothing answers a request by HTTP (GET ${path}): clients only connect and leave again`,
      ];
    }
    return [
      ...(streamPath === null
        ? [`${name}: no long answer was asked for; name a path that has one by --stream`]
        : []),
      ...(keepsConnections
        ? []
        : [`${name}: it closes each connection after its answer: none is kept, and none rests`]),
      ...(status !== null && status >= 400
        ? [`${name}: GET ${path} is answered with ${status}; name another by --path`]
        : []),
    ];
  });
  const early = `after ${deploys.length} of ${wanted} deploys it was not tried any more`;
  return last.phase === "succeeded" ? notes : [...notes, early];
}
