/**
 * The first half of recreate, and the whole of a hold: new connections go to slots that no process serves, where the
 * kernel queues them, and what served is told to end. After a crash the same steps, from what is seen.
 *
 *   take slots ─▶ they get the weight ─▶ retire ─▶ ended: whoever comes next is alone
 */
import { isEnding, isOver, type Observation, type Step } from "./fleet.ts";
import { retire } from "./proof.ts";
import { wait } from "./stage.ts";

/** Null: no process of the previous generation is left, and the empty slots have all weight. */
export function vacate({ candidate, previous }: Pick<Observation, "candidate" | "previous">): Step | null {
  if (candidate === null) return { do: "start", instances: 0 };
  if (candidate.weight < 1) {
    return candidate.placed ? { do: "weigh", candidate: 1, pinned: false } : wait(null);
  }
  if (previous === null || isOver(previous.state)) return null;
  return isEnding(previous) ? wait(null) : retire("previous", null);
}
