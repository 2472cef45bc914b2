import { describe, expect, it } from "vitest";
import type { CandidateView, Observation } from "../../deploy/fleet.ts";
import { recreate } from "../../deploy/recreate.ts";
import { candidate, deploymentIn, OPTIONS, previous, seen } from "./records.ts";
import { checkOf, next, type Row } from "./steps.ts";

const ALL = { weight: 1 };
const REASON = { code: "X", message: "Generation 5 failed." };
const ENDED = previous({ state: "stopped", ready: 0, weight: 0 });
const DRAINING = previous({ state: "draining", weight: 0 });

/** The candidate has the weight, and the previous generation has ended. */
const alone = (overrides: Partial<CandidateView> = {}, around: Partial<Observation> = {}) =>
  seen({ candidate: candidate({ weight: 1, ...overrides }), previous: ENDED, ...around });

describe("a recreate of the release that ran", () => {
  const rows: readonly Row[] = [
    ["is not tried twice", "verifying", ALL, alone({ exits: 1 }), "retire candidate DEPLOY_CANDIDATE_EXITED"],
    [
      "waits for the end",
      "verifying",
      { ...ALL, reason: REASON },
      alone({ state: "draining" }),
      "wait for a change",
    ],
    [
      "has failed, and its queue stays",
      "verifying",
      { ...ALL, reason: REASON },
      alone({ state: "stopped" }),
      "enter failed X",
    ],
    ["has nothing to bake against", "baking", ALL, alone(), "enter draining"],
    [
      "has failed with its candidate, even so",
      "baking",
      ALL,
      alone({ state: "failed", ready: 0 }),
      "enter failed DEPLOY_CANDIDATE_FAILED",
    ],
  ];
  checkOf("recreate", rows, { fallsBack: false });

  describe("of what may run twice", () => {
    const draining = { candidate: candidate({ weight: 1, ready: 0, wanted: 0 }), previous: DRAINING };
    const resumed: readonly Row[] = [
      [
        "does not wait for the end of what drains",
        "starting",
        { weight: 1 },
        seen(draining),
        "resize candidate 2",
      ],
    ];
    checkOf("recreate", resumed, { fallsBack: false, overlaps: true });
  });

  it("says that nothing serves", () => {
    const options = { ...OPTIONS, fallsBack: false };
    const step = recreate.next(
      deploymentIn("verifying", { strategy: "recreate", options, ...ALL }),
      alone({ exits: 1 }),
    );
    expect(step).toMatchObject({
      reason: { message: expect.stringContaining("No generation serves") as string },
    });
  });
});

describe("a recreate that bakes", () => {
  it("is woken when its queue has been there for too long", () => {
    const options = { ...OPTIONS, watchQueueMs: 2_000 };
    const deployment = deploymentIn("baking", { strategy: "recreate", options, ...ALL });
    expect(next(deployment, alone({ queueSince: 3_000 }))).toBe("wait 5000");
    expect(next(deployment, alone({ queueSince: 3_000 }, { now: 5_000 }))).toBe(
      "enter rolling-back DEPLOY_QUEUE_STUCK",
    );
  });
});
