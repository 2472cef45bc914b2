import { expect, test } from "vitest";
import { parseSteps, type StepFile } from "../../../daemon/config/steps.ts";
import { hasCode } from "../../../handoff/coded-error.ts";

test("a request's steps are read as the file's are", () => {
  expect(
    parseSteps([{ weight: 0.01 }, { weight: "5%", for: "90s" }, { weight: 0.5, pause: true }], false),
  ).toEqual([
    { weight: 0.01, forMs: 60_000, pause: false },
    { weight: 0.05, forMs: 90_000, pause: false },
    { weight: 0.5, forMs: 0, pause: true },
  ]);
  expect(parseSteps([{ weight: 0, pause: true }], true)).toMatchObject([{ weight: 0 }]);
});

const REFUSED: readonly (readonly [steps: readonly StepFile[], phrase: string])[] = [
  [[], "the list is empty"],
  [[{ weight: 1 }], "steps[0].weight: "],
  [[{ weight: "100%" }], "below 100%"],
  [[{ weight: 0 }], "add pin:"],
  [[{ weight: "5%" }, { weight: 0.05 }], "steps[1].weight: 0.05 is not above the step before it"],
  [[{ weight: 0.1, for: "1.5s" }], 'steps[0].for: "1.5s" is not a duration'],
  [[{ weight: 0.1, for: "1s", pause: true }], "steps[0].for: "],
];

test.each(REFUSED)(
  "the steps %j of a request are refused with the place and the way out",
  (steps, phrase) => {
    let refusal: unknown = null;
    try {
      parseSteps(steps, false);
    } catch (error) {
      refusal = error;
    }
    expect(hasCode(refusal, "DEPLOY_STEPS_UNUSABLE")).toBe(true);
    expect((refusal as Error).message).toContain(phrase);
    expect((refusal as Error).message).toMatch(/; .*\. Nothing was started$/u);
  },
);
