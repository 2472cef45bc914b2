import { expect, test } from "vitest";
import { beginDeployment } from "../../deploy/begin.ts";
import { enter, isTerminal, type Phase } from "../../deploy/deployment.ts";
import { endInterrupted } from "../../deploy/interruption.ts";
import { OPTIONS } from "./records.ts";

const begun = beginDeployment(
  {
    id: "api-2",
    service: "api",
    strategy: "blue-green",
    from: 1,
    to: 2,
    version: "2",
    isRollback: false,
    requestedBy: "root",
    options: OPTIONS,
  },
  null,
  10,
);

const course: Phase[] = ["verifying", "shifting", "baking"];
const at = (...phases: Phase[]) =>
  phases.reduce((deployment, phase) => enter(deployment, phase, null, 20), begun);

test.each([
  ["starting", at(), "failed"],
  ["verifying", at("verifying"), "failed"],
  ["shifting", at("verifying", "shifting"), "failed"],
  ["baking", at(...course), "failed"],
  ["draining", at(...course, "draining"), "succeeded"],
  ["rolling-back", at(...course, "rolling-back"), "rolled-back"],
] as const)("a deploy that was %s when everything ended is over", (_, deployment, phase) => {
  const ended = endInterrupted(deployment, 30);
  expect(ended).toMatchObject({ phase, finishedAt: 30 });
  expect(isTerminal(ended)).toBe(true);
  expect(ended.reason?.code).toBe(phase === "failed" ? "DEPLOY_INTERRUPTED" : undefined);
});

test("one that had ended stays as it was", () => {
  const ended = at(...course, "draining", "succeeded");
  expect(endInterrupted(ended, 99)).toBe(ended);
});
