/** When in a deploy a loss was, and whose connection it was, by the deploys' own records. Pure. */
import type { Deploy, Phase } from "../../admin-api/schemas.ts";

export interface Moment {
  /** The number of the deploy, from 1; null: before the first. */
  readonly deploy: number | null;
  /** null: between two deploys. */
  readonly phase: Phase | null;
  /** The generation whose connection it was; null: it came about while both were given some. */
  readonly side: "old" | "new" | null;
  /** The generation that is replaced was being told to end, or had been. */
  readonly isEnding: boolean;
}

/** In which phases the generation that is replaced is told to end; none: from the deploy's beginning on. */
const ENDING: Readonly<Record<Deploy["strategy"], readonly Phase[]>> = {
  "blue-green": ["draining"],
  canary: ["draining"],
  // One instance after the other.
  rolling: ["shifting", "draining"],
  recreate: [],
};

/** A client may learn a moment later than the daemon that a process has ended. */
const LATE_NEWS_MS = 1_000;

/** `at`: when the client knew; `openedAt`: when its connection came about. Milliseconds since the epoch. */
export function momentOf(at: number, openedAt: number, deploys: readonly Deploy[]): Moment {
  const index = deploys.findLastIndex(({ startedAt }) => Date.parse(startedAt) <= at);
  const deploy = deploys[index];
  if (deploy === undefined) return { deploy: null, phase: null, side: null, isEnding: false };
  const side = sideOf(openedAt, deploy);
  const phase = phaseAt(at, deploy, side);
  const isEnding = phase !== null && (endingSince(deploy) ?? Infinity) <= at;
  return { deploy: index + 1, phase, side, isEnding };
}

/** When the generation that the deploy replaced was told to end, at the earliest; null: it was not. */
export function endingSince(deploy: Deploy): number | null {
  const phases = ENDING[deploy.strategy];
  if (phases.length === 0) return Date.parse(deploy.startedAt);
  const began = phases.flatMap((phase) => beginOf(deploy, phase) ?? []);
  return began.length === 0 ? null : Math.min(...began);
}

/** When a phase of the deploy began; null: it did not come to it. */
function beginOf(deploy: Deploy, phase: Phase): number | null {
  const found = deploy.phases.find((record) => record.phase === phase);
  return found === undefined ? null : Date.parse(found.startedAt);
}

/** How long a phase lasted, in milliseconds; null: the deploy did not come to it, or not out of it. */
export function durationOf(deploy: Deploy, phase: Phase): number | null {
  const found = deploy.phases.find((record) => record.phase === phase);
  if (found?.finishedAt == null) return null;
  return Date.parse(found.finishedAt) - Date.parse(found.startedAt);
}

function phaseAt(at: number, deploy: Deploy, side: Moment["side"]): Phase | null {
  const isIn = ({ startedAt, finishedAt }: Deploy["phases"][number]): boolean =>
    Date.parse(startedAt) <= at && (finishedAt === null || at < Date.parse(finishedAt));
  const end = deploy.finishedAt === null ? Infinity : Date.parse(deploy.finishedAt);
  if (at < end) return deploy.phases.find(isIn)?.phase ?? null;
  return side === "old" && at < end + LATE_NEWS_MS ? "draining" : null;
}

function sideOf(openedAt: number, deploy: Deploy): Moment["side"] {
  const shift = deploy.phases.find(({ phase }) => phase === "shifting");
  if (shift === undefined || openedAt < Date.parse(shift.startedAt)) return "old";
  return shift.finishedAt !== null && openedAt > Date.parse(shift.finishedAt) ? "new" : null;
}
