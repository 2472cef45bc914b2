import { describe } from "vitest";
import { BEGAN, candidate, OPTIONS, previous, seen, seenWithUsers } from "./records.ts";
import { BAKED_BY, BOOTING, check, provedAt, READY_BY, VERIFIED_BY } from "./steps.ts";

describe("the way of a deploy that succeeds", () => {
  check([
    ["starts the candidate", "starting", {}, seen({ candidate: null }), "start"],
    ["waits until it is ready", "starting", {}, seen({ candidate: BOOTING }), `wait ${READY_BY}`],
    [
      "waits longer for one that asks for more time",
      "starting",
      {},
      seen({ now: READY_BY, candidate: { ...BOOTING, startsUntil: READY_BY + 9 } }),
      `wait ${READY_BY + 9}`,
    ],
    ["goes on to verify when all are ready", "starting", {}, seen(), "enter verifying"],
    ["does so even if it looks late", "starting", {}, seen({ now: READY_BY + 1 }), "enter verifying"],
    ["verifies", "verifying", {}, seen(), "verify"],
    [
      "waits for the outcome",
      "verifying",
      {},
      seen({ candidate: candidate({ verification: "running" }) }),
      `wait ${VERIFIED_BY}`,
    ],
    [
      "opens the gate",
      "verifying",
      {},
      seen({ candidate: candidate({ verification: "passed" }) }),
      "enter shifting",
    ],
    [
      "does not open it while an instance is not ready",
      "verifying",
      {},
      seen({ candidate: candidate({ verification: "passed", ready: 1 }) }),
      `wait ${VERIFIED_BY}`,
    ],
    ["gives the candidate everything", "shifting", {}, seen(), "weigh 1"],
    ["bakes", "shifting", { weight: 1 }, seenWithUsers(), "enter baking"],
    ["keeps the previous generation for the bake", "baking", {}, seenWithUsers(), `wait ${BAKED_BY}`],
    ["verifies once more at its end", "baking", {}, seenWithUsers({ now: BAKED_BY }), "verify"],
    [
      "waits for the outcome, as long as it may take",
      "baking",
      {},
      seenWithUsers({ now: BAKED_BY, candidate: provedAt(BAKED_BY, "running") }),
      `wait ${BAKED_BY + OPTIONS.verifyTimeoutMs}`,
    ],
    [
      "is not content with the proof of before the bake",
      "baking",
      {},
      seenWithUsers({ now: BAKED_BY, candidate: provedAt(BEGAN.verifying) }),
      "verify",
    ],
    [
      "ends the bake",
      "baking",
      {},
      seenWithUsers({ now: BAKED_BY, candidate: provedAt(BAKED_BY) }),
      "enter draining",
    ],
    [
      "does not verify again after a bake of no time",
      "baking",
      { options: { ...OPTIONS, bakeMs: 0 } },
      seenWithUsers(),
      "enter draining",
    ],
    ["retires the previous generation", "draining", {}, seenWithUsers(), "retire previous"],
    [
      "waits for its end",
      "draining",
      {},
      seenWithUsers({ previous: previous({ state: "draining", weight: 0 }) }),
      "wait for a change",
    ],
    [
      "has then succeeded",
      "draining",
      {},
      seenWithUsers({ previous: previous({ state: "stopped", weight: 0 }) }),
      "enter succeeded",
    ],
    ["asks for nothing once ended", "succeeded", {}, seenWithUsers(), "wait for a change"],
  ]);
});

describe("a first start", () => {
  const first = { from: null };
  check([
    ["takes all weight once proved", "shifting", first, seen({ previous: null }), "weigh 1"],
    [
      "has succeeded with it: nothing to bake against, nothing to drain",
      "shifting",
      { ...first, weight: 1 },
      seenWithUsers({ previous: null }),
      "enter succeeded",
    ],
    [
      "can be held at the gate",
      "shifting",
      { ...first, paused: true },
      seen({ previous: null }),
      "wait for a change",
    ],
    [
      "fails when its instance exits",
      "starting",
      first,
      seen({ previous: null, candidate: candidate({ exits: 1 }) }),
      "retire candidate DEPLOY_CANDIDATE_EXITED",
    ],
  ]);
});

describe("pinned networks", () => {
  const pins = { options: { ...OPTIONS, hasPins: true } };
  const pinned = { ...pins, pinned: true };
  const reached = (overrides = {}) => seen({ candidate: candidate({ pinned: true, ...overrides }) });
  check([
    ["reach the candidate from the gate on", "shifting", pins, seen(), "weigh 0 pinned"],
    ["do so even if the rest is held", "shifting", { ...pins, paused: true }, seen(), "weigh 0 pinned"],
    ["are followed by the others", "shifting", pinned, reached(), "weigh 1 pinned"],
    ["wait alone in a pause", "shifting", { ...pinned, paused: true }, reached(), "wait for a change"],
    [
      "do not reach it on a first start",
      "shifting",
      { ...pins, from: null },
      seen({ previous: null }),
      "weigh 1",
    ],
    ["are given again after a crash", "shifting", pinned, seen(), "weigh 0 pinned"],
    [
      "are users: a candidate that fails them is rolled back",
      "shifting",
      pinned,
      reached({ exits: 1 }),
      "enter rolling-back DEPLOY_CANDIDATE_EXITED",
    ],
    ["are taken back with the weight", "rolling-back", { pinned: true }, reached(), "weigh 0"],
  ]);
});
