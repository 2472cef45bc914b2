/** The steps of a canary: of the file, and of the request of a deploy. One reader, so that both mean the same. */
import { messageOf } from "../../handoff/coded-error.ts";
import { stepsUnusable } from "../errors.ts";
import type { StepConfig } from "./config.ts";
import { DEFAULTS } from "./defaults.ts";
import type { Draft } from "./validate.ts";
import { parseDuration, parseWeight } from "./values.ts";

/** As it is written. */
export interface StepFile {
  /** `5%`, `0.05` as text or as a number. */
  readonly weight: string | number;
  readonly for?: string;
  readonly pause?: boolean;
}

interface StepProblem {
  readonly index: number;
  readonly key: "weight" | "for";
  /** What is wrong; why; the way out. */
  readonly message: string;
}

/** What is wrong with steps whose values can be read. What is missing from the draft has been reported before. */
export function checkSteps(steps: readonly (Draft<StepFile> | undefined)[], hasPins: boolean): StepProblem[] {
  const problems: StepProblem[] = [];
  let before = -1;
  steps.forEach((step, index) => {
    const wrong = (key: StepProblem["key"], message: string): void => {
      problems.push({ index, key, message });
    };
    if (step?.for !== undefined && step.pause === true) {
      wrong(
        "for",
        `"${step.for}" would not count, because a step with pause: true lasts until someone continues; remove one of them`,
      );
    }
    if (step?.weight === undefined) return;
    const weight = parseWeight(String(step.weight));
    if (weight === 0 && !(index === 0 && hasPins)) {
      wrong(
        "weight",
        index === 0
          ? `${step.weight} sends nobody to the candidate, and nothing would be learnt; it is for the networks of pin: alone; add pin: or write "5%"`
          : `${step.weight} sends nobody to the candidate, which had users in the step before it; only the first step may; write "5%"`,
      );
    } else if (weight <= before) {
      wrong(
        "weight",
        `${step.weight} is not above the step before it; weights increase from step to step; reorder them or raise this one`,
      );
    }
    before = Math.max(before, weight);
  });
  return problems;
}

/** Steps that have been checked. */
export function normaliseSteps(steps: readonly StepFile[]): readonly StepConfig[] {
  return steps.map(({ weight, for: duration, pause = DEFAULTS.stepPause }) => ({
    weight: parseWeight(String(weight)),
    forMs: pause ? 0 : parseDuration(duration ?? DEFAULTS.stepFor),
    pause,
  }));
}

/**
 * The steps of a request, whose shape the API has checked. `hasPins`: the service has networks that a first step of 0
 * is for.
 *
 * @throws CodedError DEPLOY_STEPS_UNUSABLE, with the place, the reason and the way out
 */
export function parseSteps(steps: readonly StepFile[], hasPins: boolean): readonly StepConfig[] {
  if (steps.length === 0)
    throw stepsUnusable("steps: the list is empty; there is nothing to go through; leave it out");
  steps.forEach((step, index) => {
    readable(`steps[${index}].weight`, () => parseWeight(String(step.weight)));
    readable(`steps[${index}].for`, () => step.for === undefined || parseDuration(step.for));
  });
  const [first] = checkSteps(steps, hasPins);
  if (first !== undefined) throw stepsUnusable(`steps[${first.index}].${first.key}: ${first.message}`);
  return normaliseSteps(steps);
}

function readable(place: string, read: () => unknown): void {
  try {
    read();
  } catch (error) {
    throw stepsUnusable(`${place}: ${messageOf(error)}`, error);
  }
}
