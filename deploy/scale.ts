/** What "run this many instances" means now. */
import { nothingToScale, scaleInvalid } from "./errors.ts";
import type { GenerationView } from "./fleet.ts";
import { assertNotHeld, assertQuiet, type Standing } from "./hold.ts";

export type ScaleDecision =
  /** Remember the number for the deploys to come, and resize the current generation: `Fleet.resize`. */
  { readonly do: "resize"; readonly instances: number } | { readonly do: "nothing" };

/**
 * Throws SCALE_INVALID, SERVICE_HELD, DEPLOY_IN_PROGRESS, DEPLOY_ROLLING_BACK and NOTHING_TO_SCALE. A deploy that is
 * under way has fixed how many instances each generation gets; a second opinion in the middle would undo it.
 */
export function decideScale(
  standing: Pick<Standing, "service" | "hold" | "latest">,
  current: Pick<GenerationView, "wanted"> | null,
  instances: number,
): ScaleDecision {
  // None is a hold: the slots' queues need someone, and a generation without a process cannot drain.
  if (!Number.isSafeInteger(instances) || instances < 1) throw scaleInvalid(standing.service, instances);
  assertNotHeld(standing);
  assertQuiet(standing);
  if (current === null) throw nothingToScale(standing.service);
  return current.wanted === instances ? { do: "nothing" } : { do: "resize", instances };
}
