import { describe, expect, it } from "vitest";
import { blueGreen } from "../../deploy/blue-green.ts";
import { deploymentIn, seen, seenWithUsers } from "./records.ts";
import { check, GONE, users } from "./steps.ts";

describe("a previous generation that ends by itself", () => {
  const rollback = { wish: "rollback" } as const;
  const gone = seenWithUsers({ previous: GONE });
  const stillThere = seen({ previous: { ...GONE, weight: 1 } });
  check([
    ["does not stop the start", "starting", {}, stillThere, "enter verifying"],
    ["does not stop the proof", "verifying", {}, stillThere, "verify"],
    ["is replaced at once, whatever holds", "shifting", { paused: true }, stillThere, "weigh 1"],
    ["leaves everything to the candidate", "shifting", { weight: 0.1 }, stillThere, "weigh 1"],
    ["ends the bake", "baking", {}, gone, "enter draining DEPLOY_PREVIOUS_ENDED"],
    ["ends a bake that is held", "baking", { paused: true }, gone, "enter draining DEPLOY_PREVIOUS_ENDED"],
    ["leaves no way back", "baking", rollback, gone, "enter draining DEPLOY_PREVIOUS_ENDED"],
    [
      "leaves no way back for a candidate that is troubled",
      "baking",
      {},
      { ...gone, candidate: users({ exits: 3, ready: 0 }) },
      "enter draining DEPLOY_PREVIOUS_ENDED",
    ],
    ["leaves no way back that was begun but not taken", "rolling-back", { weight: 0 }, gone, "weigh 1"],
    [
      "and the deploy goes on",
      "rolling-back",
      { ...rollback, weight: 1 },
      gone,
      "enter draining DEPLOY_PREVIOUS_ENDED",
    ],
    ["does not undo a way back that was taken", "rolling-back", {}, stillThere, "retire candidate"],
    [
      "leaves nothing",
      "baking",
      {},
      { ...gone, candidate: users({ state: "failed" }) },
      "enter failed DEPLOY_NOTHING_LEFT",
    ],
    [
      "leaves nothing, not even on the way back",
      "rolling-back",
      {},
      { ...gone, candidate: users({ state: "failed" }) },
      "enter failed DEPLOY_NOTHING_LEFT",
    ],
    ["is drained already", "draining", {}, gone, "enter succeeded"],
  ]);

  it("makes the deploy say which wish it could not do", () => {
    const step = blueGreen.next(deploymentIn("baking", rollback), gone);
    expect(step).toMatchObject({
      reason: {
        message: expect.stringContaining("the rollback that was asked for could not be done") as string,
      },
    });
  });
});
