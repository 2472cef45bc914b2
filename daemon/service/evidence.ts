/** What is known of the connections of a deploy's two generations: counted when something happens to them, never by a timer. */
import { type Deployment, hasHadUsers, isTerminal } from "../../deploy/deployment.ts";
import type { TrafficRecord } from "../generation/traffic.ts";

export interface GenerationEvidence {
  readonly generation: number;
  /** Open when the new connections had moved to the candidate, or were about to go back. */
  readonly atShift: number | null;
  /** As TrafficRecord has them; null: it has not happened to this generation, or connections are not counted. */
  readonly peak: number | null;
  readonly atEnd: number | null;
  readonly cut: number | null;
  /** Of those at its end, how many others have taken; absent: none. */
  readonly moved?: number;
  readonly endedBy: string | null;
}

export interface Evidence {
  readonly candidate: GenerationEvidence;
  readonly previous: GenerationEvidence | null;
}

/** A deploy as the daemon remembers it: beside the record, what is not the strategies' business. */
export interface Remembered extends Deployment {
  readonly evidence?: Evidence;
  /** It stands in the history (history.ts) for certain. */
  readonly isInHistory?: boolean;
}

/** What is known of a generation when it was just counted. */
export interface Counted {
  readonly open: number | null;
  readonly traffic: TrafficRecord;
  /** Connections that others have taken from it. */
  readonly moved: number;
}

/** Whether a deploy that enters this phase is worth a count of its generations' connections: twice, or thrice, a deploy. */
export function isCounted(deployment: Deployment): boolean {
  const { phase } = deployment;
  if (phase === "baking" || phase === "rolling-back") return true;
  return isTerminal(deployment) && hasHadUsers(deployment);
}

/** The evidence as of now. `count` says null of a generation that is not there any more. */
export function gather(
  before: Evidence | undefined,
  deployment: Deployment,
  count: (generation: number) => Counted | null,
): Evidence {
  const { from, to, phase } = deployment;
  const isShift = phase === "baking" || phase === "rolling-back";
  const of = (generation: number, known: GenerationEvidence | null | undefined): GenerationEvidence => {
    const counted = count(generation);
    const traffic = counted?.traffic;
    const moved = counted?.moved ?? known?.moved ?? 0;
    return {
      generation,
      atShift: known?.atShift ?? (isShift ? (counted?.open ?? null) : null),
      peak: traffic?.peak ?? known?.peak ?? null,
      atEnd: traffic?.atEnd ?? known?.atEnd ?? null,
      cut: traffic?.cut ?? known?.cut ?? null,
      ...(moved > 0 && { moved }),
      endedBy: traffic?.ended?.by ?? known?.endedBy ?? null,
    };
  };
  return {
    candidate: of(to, before?.candidate),
    previous: from === null ? null : of(from, before?.previous),
  };
}
