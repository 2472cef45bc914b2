/** A strategy decides; it never acts. It sees the record and the world and names one step. */
import { blueGreen } from "./blue-green.ts";
import type { Deployment, StrategyName } from "./deployment.ts";
import { strategyUnknown } from "./errors.ts";
import type { Observation, Step } from "./fleet.ts";

export interface Strategy {
  /**
   * The next step, from nothing but its arguments: asked twice it answers the same, and a step that a crash
   * interrupted is answered again until the observation shows it done. A wait is never for an instant that has passed.
   */
  next(deployment: Deployment, observation: Observation): Step;
}

const STRATEGIES: Readonly<Partial<Record<StrategyName, Strategy>>> = {
  "blue-green": blueGreen,
};

/** Throws DEPLOY_STRATEGY_UNAVAILABLE for one that this version does not have. */
export function strategyNamed(name: StrategyName): Strategy {
  const strategy = STRATEGIES[name];
  if (strategy === undefined) throw strategyUnknown(name, Object.keys(STRATEGIES));
  return strategy;
}
