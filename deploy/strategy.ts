/** A strategy decides; it never acts. It sees the record and the world and names one step. */
import { blueGreen } from "./blue-green.ts";
import { canary } from "./canary.ts";
import type { Deployment, StrategyName } from "./deployment.ts";
import type { Observation, Step } from "./fleet.ts";
import { recreate } from "./recreate.ts";
import { rolling } from "./rolling.ts";

export interface Strategy {
  /**
   * The next step, from nothing but its arguments: asked twice it answers the same, and a step that a crash
   * interrupted is answered again until the observation shows it done. A wait is never for an instant that has passed.
   */
  next(deployment: Deployment, observation: Observation): Step;
}

export const STRATEGIES: Readonly<Record<StrategyName, Strategy>> = {
  "blue-green": blueGreen,
  canary,
  rolling,
  recreate,
};
