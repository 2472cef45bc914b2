import { expect, test } from "vitest";

import { reach } from "../../deploy/deployment.ts";
import { dueAt } from "../../deploy/due.ts";
import { BEGAN, deploymentIn, OPTIONS } from "./records.ts";

const steps = [
  { weight: 0.05, forMs: 7_000, pause: false },
  { weight: 0.5, forMs: 7_000, pause: true },
];
const canary = deploymentIn("shifting", { strategy: "canary", options: { ...OPTIONS, steps } });

test.each([
  ["starts must be ready", deploymentIn("starting"), OPTIONS.readyTimeoutMs],
  ["is verified must have passed", deploymentIn("verifying"), BEGAN.verifying + OPTIONS.verifyTimeoutMs],
  ["bakes goes on", deploymentIn("baking"), BEGAN.baking + OPTIONS.bakeMs],
  ["is at a step goes to the next", reach(canary, 0, 2_500), 2_500 + 7_000],
])("a deploy that %s when its time is over", (_title, deployment, due) => {
  expect(dueAt(deployment)).toBe(due);
});

test.each([
  ["is paused", deploymentIn("baking", { paused: true })],
  ["is paused at a step", reach(canary, 1, 2_500)],
  ["is promoted", deploymentIn("baking", { wish: "promote" })],
  ["has left its steps behind", { ...reach(canary, 0, 2_500), weight: 1 }],
  ["drains", deploymentIn("draining")],
  ["goes back", deploymentIn("rolling-back")],
  ["has ended", deploymentIn("succeeded")],
])("time alone changes nothing for one that %s", (_title, deployment) => {
  expect(dueAt(deployment)).toBe(null);
});
