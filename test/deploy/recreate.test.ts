import { describe, expect, it } from "vitest";
import type { CandidateView, GenerationView, Observation } from "../../deploy/fleet.ts";
import { recreate } from "../../deploy/recreate.ts";
import { candidate, deploymentIn, previous, seen } from "./records.ts";
import { BAKED_BY, checkOf, READY_BY, type Row } from "./steps.ts";

const NONE = { ready: 0, wanted: 0, state: "starting" } as const;
const ENDED = previous({ state: "stopped", ready: 0, weight: 0 });
const DRAINING = previous({ state: "draining", weight: 0 });
const ALL = { weight: 1 };
const REASON = { code: "X", message: "Generation 5 failed." };
const BACK = { weight: 1, reason: REASON };

/** The candidate has the weight, and the previous generation has ended. */
const alone = (overrides: Partial<CandidateView> = {}, around: Partial<Observation> = {}) =>
  seen({ candidate: candidate({ weight: 1, ...overrides }), previous: ENDED, ...around });
const fallingBack = (overrides: Partial<GenerationView>, around: Partial<Observation> = {}) =>
  alone({ state: "failed", ready: 0, weight: 0 }, { fallback: previous(overrides), ...around });

describe("a recreate", () => {
  const at = { ...ALL, resizedAt: 3_000 };
  const rows: readonly Row[] = [
    ["takes slots, without a process", "starting", {}, seen({ candidate: null }), "start 0"],
    [
      "waits for them",
      "starting",
      {},
      seen({ candidate: candidate({ ...NONE, placed: false }) }),
      `wait ${READY_BY}`,
    ],
    [
      "but not for ever",
      "starting",
      {},
      seen({ now: READY_BY, candidate: candidate({ ...NONE, placed: false }) }),
      "retire candidate DEPLOY_READY_TIMEOUT",
    ],
    ["lets new connections wait there", "starting", {}, seen({ candidate: candidate(NONE) }), "weigh 1"],
    [
      "ends the previous generation",
      "starting",
      ALL,
      seen({ candidate: candidate({ ...NONE, ...ALL }), previous: previous({ weight: 0 }) }),
      "retire previous",
    ],
    [
      "waits for its end, however late",
      "starting",
      ALL,
      seen({ now: 90_000, candidate: candidate({ ...NONE, ...ALL }), previous: DRAINING }),
      "wait for a change",
    ],
    ["starts the candidate then", "starting", ALL, alone(NONE), "resize candidate 2"],
    ["gives it its time from there", "starting", at, alone({ ready: 1 }), "wait 13000"],
    ["verifies it", "verifying", at, alone(), "verify"],
    ["does not hold what connections wait for", "shifting", { ...at, paused: true }, alone(), "enter baking"],
    ["watches it", "baking", at, alone(), `wait ${BAKED_BY}`],
    ["has succeeded", "draining", at, alone(), "enter succeeded"],
    ["ends its watch when it is promoted", "baking", { ...at, wish: "promote" }, alone(), "enter draining"],
  ];
  checkOf("recreate", rows);
  checkOf("recreate", [
    [
      "takes all weight only with the proof, on a first start",
      "starting",
      { from: null },
      seen({ candidate: null, previous: null }),
      "start",
    ],
  ]);
});

describe("a recreate that fails", () => {
  const rows: readonly Row[] = [
    [
      "before the previous generation was told to end gives the weight back",
      "starting",
      { ...ALL, wish: "abort" },
      seen({ candidate: candidate({ ...NONE, ...ALL }), previous: previous({ weight: 0 }) }),
      "weigh 0",
    ],
    [
      "and leaves it as it was",
      "starting",
      { wish: "abort" },
      seen({ candidate: candidate(NONE) }),
      "retire candidate DEPLOY_ABORTED",
    ],
    [
      "goes back when the candidate exits",
      "starting",
      ALL,
      alone({ exits: 1 }),
      "enter rolling-back DEPLOY_CANDIDATE_EXITED",
    ],
    [
      "goes back when it is not ready in time",
      "starting",
      { ...ALL, resizedAt: 0 },
      alone({ ready: 1 }, { now: READY_BY }),
      "enter rolling-back DEPLOY_READY_TIMEOUT",
    ],
    [
      "goes back when it does not pass",
      "verifying",
      ALL,
      alone({ verification: "failed" }),
      "enter rolling-back DEPLOY_VERIFY_FAILED",
    ],
    [
      "goes back while it bakes",
      "baking",
      ALL,
      alone({ exits: 1 }),
      "enter rolling-back DEPLOY_CANDIDATE_EXITED",
    ],
    [
      "goes back on request",
      "baking",
      { ...ALL, wish: "rollback" },
      alone(),
      "enter rolling-back DEPLOY_ROLLED_BACK",
    ],
    ["ends the candidate, whose queue stays", "rolling-back", BACK, alone(), "retire candidate X"],
    ["waits for its end", "rolling-back", BACK, alone({ state: "draining" }), "wait for a change"],
    [
      "waits for the end of the previous generation, too",
      "rolling-back",
      BACK,
      alone({ state: "stopped", ready: 0 }, { previous: DRAINING }),
      "wait for a change",
    ],
    [
      "starts the previous release again, under a new number",
      "rolling-back",
      BACK,
      alone({ state: "failed", ready: 0 }),
      "fall back as 6",
    ],
    [
      "keeps the number that it had recorded when it died",
      "rolling-back",
      { ...BACK, fallback: 6 },
      alone({ state: "failed", ready: 0 }, { nextNumber: 7 }),
      "fall back as 6",
    ],
    ["waits for it", "rolling-back", { ...BACK, resizedAt: 3_000 }, fallingBack({ ready: 1 }), "wait 13000"],
    ["is rolled back when it is ready", "rolling-back", BACK, fallingBack({}), "enter rolled-back"],
    [
      "is aborted if someone wanted it",
      "rolling-back",
      { ...BACK, reason: { code: "DEPLOY_ABORTED", message: "" } },
      fallingBack({}),
      "enter aborted",
    ],
    [
      "ends a fallback that fails, too",
      "rolling-back",
      BACK,
      fallingBack({ ready: 0, exits: 1 }),
      "retire fallback DEPLOY_FALLBACK_FAILED",
    ],
    [
      "ends one that is not ready in time",
      "rolling-back",
      { ...BACK, resizedAt: 0 },
      fallingBack({ ready: 0 }, { now: READY_BY }),
      "retire fallback DEPLOY_FALLBACK_FAILED",
    ],
    [
      "has then failed",
      "rolling-back",
      BACK,
      fallingBack({ state: "failed", ready: 0 }),
      "enter failed DEPLOY_FALLBACK_FAILED",
    ],
  ];
  checkOf("recreate", rows);

  it("says of both what was wrong, and what still holds", () => {
    const failure = { code: "EXIT", message: "instance 1 exited with status 3." };
    const step = recreate.next(
      deploymentIn("rolling-back", { strategy: "recreate", fallback: 6, ...BACK }),
      fallingBack({ state: "failed", ready: 0, failure }),
    );
    expect(step).toMatchObject({
      reason: {
        message:
          "Generation 5 failed. Generation 6, the same release as generation 4, did not become ready: instance 1 exited " +
          "with status 3. No generation serves, and new connections wait in the queue. Deploy a version that works.",
      },
    });
  });

  it("says that the release before is started again", () => {
    const step = recreate.next(
      deploymentIn("verifying", { strategy: "recreate", ...ALL }),
      alone({ exits: 1 }),
    );
    expect(step).toMatchObject({
      reason: { message: expect.stringContaining("generation 4 is started again") as string },
    });
  });
});
