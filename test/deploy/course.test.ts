import { describe, expect, it } from "vitest";
import { blueGreen } from "../../deploy/blue-green.ts";
import type { CandidateView } from "../../deploy/fleet.ts";
import { candidate, deploymentIn, OPTIONS, seen, seenWithUsers } from "./records.ts";
import { BAKED_BY, BOOTING, check, READY_BY, STANDBY, users, VERIFIED_BY } from "./steps.ts";

describe("a candidate that fails before anyone has met it", () => {
  const failing = (overrides: Partial<CandidateView>) => seen({ candidate: candidate(overrides) });
  const reason = { code: "X", message: "x" };
  const passed = { verification: "passed" } as const;
  check([
    ["failed to boot", "starting", {}, failing({ state: "failed" }), "enter failed DEPLOY_CANDIDATE_FAILED"],
    ["exited", "verifying", {}, failing({ exits: 1, ...passed }), "retire candidate DEPLOY_CANDIDATE_EXITED"],
    [
      "was not ready in time",
      "starting",
      {},
      seen({ now: READY_BY, candidate: BOOTING }),
      "retire candidate DEPLOY_READY_TIMEOUT",
    ],
    [
      "was not even started in time",
      "starting",
      {},
      seen({ now: READY_BY, candidate: null }),
      "enter failed DEPLOY_READY_TIMEOUT",
    ],
    [
      "did not pass",
      "verifying",
      {},
      failing({ verification: "failed" }),
      "retire candidate DEPLOY_VERIFY_FAILED",
    ],
    [
      "did not pass in time",
      "verifying",
      {},
      seen({ now: VERIFIED_BY }),
      "retire candidate DEPLOY_VERIFY_TIMEOUT",
    ],
    [
      "was lost in a recovery",
      "verifying",
      {},
      seen({ candidate: null }),
      "enter failed DEPLOY_CANDIDATE_LOST",
    ],
    [
      "is not ready at the gate",
      "shifting",
      {},
      failing({ ready: 0 }),
      "retire candidate DEPLOY_CANDIDATE_NOT_READY",
    ],
    ["exited at the gate", "shifting", {}, failing({ exits: 1 }), "retire candidate DEPLOY_CANDIDATE_EXITED"],
    [
      "ends for the recorded reason after a crash",
      "verifying",
      { reason },
      failing({}),
      "retire candidate X",
    ],
    ["is ending already", "verifying", { reason }, failing({ state: "draining" }), "enter failed X"],
  ]);

  it("names the cause and what still holds", () => {
    const failure = { code: "EXIT", message: "instance 1 exited with status 3." };
    const step = blueGreen.next(deploymentIn("verifying"), failing({ state: "failed", failure }));
    expect(step).toMatchObject({
      reason: {
        message:
          "Generation 5 failed while verifying: instance 1 exited with status 3. Traffic stays on generation 4.",
      },
    });
  });
});

describe("a candidate that fails with users", () => {
  const failing = (overrides: Partial<CandidateView>) => seenWithUsers({ candidate: users(overrides) });
  const unwatched = { options: { ...OPTIONS, watchExits: 0 } };
  const back = { reason: { code: "X", message: "x" } };
  check([
    ["failed", "baking", {}, failing({ state: "failed" }), "enter rolling-back DEPLOY_CANDIDATE_FAILED"],
    ["exited", "baking", {}, failing({ exits: 1 }), "enter rolling-back DEPLOY_CANDIDATE_EXITED"],
    ["exited, which nobody watches", "baking", unwatched, failing({ exits: 9 }), `wait ${BAKED_BY}`],
    [
      "exited, but still serves while the previous one would not",
      "baking",
      {},
      seenWithUsers({ candidate: users({ exits: 1 }), previous: { ...STANDBY, ready: 0 } }),
      `wait ${BAKED_BY}`,
    ],
    [
      "is not ready any more",
      "baking",
      {},
      failing({ ready: 0 }),
      "enter rolling-back DEPLOY_CANDIDATE_NOT_READY",
    ],
    [
      "exited, and none is ready any more",
      "baking",
      {},
      failing({ exits: 1, ready: 0 }),
      "enter rolling-back DEPLOY_CANDIDATE_EXITED",
    ],
    [
      "is not ready any more while shifting",
      "shifting",
      { weight: 1 },
      failing({ ready: 0 }),
      "enter rolling-back DEPLOY_CANDIDATE_NOT_READY",
    ],
    [
      "was lost",
      "baking",
      {},
      seenWithUsers({ candidate: null }),
      "enter rolling-back DEPLOY_CANDIDATE_LOST",
    ],
    [
      "cannot be found, but its slot has the weight",
      "rolling-back",
      { ...back, weight: 1 },
      seenWithUsers({ candidate: null }),
      "weigh 0",
    ],
    ["cannot be found", "rolling-back", back, seenWithUsers({ candidate: null }), "enter rolled-back"],
    ["loses its weight first", "rolling-back", back, seenWithUsers(), "weigh 0"],
    ["loses it even if it has failed", "rolling-back", back, failing({ state: "failed" }), "weigh 0"],
    ["is retired second", "rolling-back", back, seen(), "retire candidate X"],
    [
      "drains",
      "rolling-back",
      back,
      seen({ candidate: candidate({ state: "draining" }) }),
      "wait for a change",
    ],
    [
      "is rolled back when it has stopped",
      "rolling-back",
      back,
      seen({ candidate: candidate({ state: "stopped" }) }),
      "enter rolled-back",
    ],
  ]);
});

describe("what someone asked for", () => {
  const abort = { wish: "abort" } as const;
  const aborted = { reason: { code: "DEPLOY_ABORTED", message: "" } };
  check([
    [
      "an abort retires a candidate that nobody has met",
      "starting",
      abort,
      seen(),
      "retire candidate DEPLOY_ABORTED",
    ],
    ["and that is the end", "starting", abort, seen({ candidate: null }), "enter aborted DEPLOY_ABORTED"],
    ["an abort with users goes back", "baking", abort, seenWithUsers(), "enter rolling-back DEPLOY_ABORTED"],
    [
      "and ends as aborted",
      "rolling-back",
      aborted,
      seen({ candidate: candidate({ state: "stopped" }) }),
      "enter aborted",
    ],
    ["a rollback", "baking", { wish: "rollback" }, seenWithUsers(), "enter rolling-back DEPLOY_ROLLED_BACK"],
    ["a promotion ends the bake", "baking", { wish: "promote" }, seenWithUsers(), "enter draining"],
    ["a promotion does not skip the proof", "verifying", { wish: "promote" }, seen(), "verify"],
    ["a pause holds at the gate", "shifting", { paused: true }, seen(), "wait for a change"],
    ["a pause does not hold the proof", "verifying", { paused: true }, seen(), "verify"],
    [
      "a pause holds the bake",
      "baking",
      { paused: true },
      seenWithUsers({ now: BAKED_BY }),
      "wait for a change",
    ],
    [
      "a bake that is continued goes on until its time",
      "baking",
      {},
      seenWithUsers({ now: BAKED_BY - 1 }),
      `wait ${BAKED_BY}`,
    ],
    [
      "a pause does not hold a way back",
      "baking",
      { paused: true },
      seenWithUsers({ candidate: users({ ready: 0 }) }),
      "enter rolling-back DEPLOY_CANDIDATE_NOT_READY",
    ],
  ]);
});
