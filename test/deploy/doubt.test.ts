import { describe } from "vitest";
import type { AnalysisView, CandidateView } from "../../deploy/fleet.ts";
import { BEGAN, OPTIONS, seenWithUsers } from "./records.ts";
import { BAKED_BY, check, provedAt, STANDBY, users } from "./steps.ts";

describe("a candidate that is found wanting with users", () => {
  const watched = { options: { ...OPTIONS, watchQueueMs: 500 } };
  const queue = (queueSince: number, overrides: Partial<CandidateView> = {}) =>
    seenWithUsers({ candidate: users({ queueSince, ...overrides }) });
  const late = { now: BAKED_BY + OPTIONS.verifyTimeoutMs };
  check([
    ["has a queue, for a short time", "baking", watched, queue(3_300), "wait 3800"],
    ["has it for too long", "baking", watched, queue(3_000), "enter rolling-back DEPLOY_QUEUE_STUCK"],
    ["has it, which nobody watches", "baking", {}, queue(1), `wait ${BAKED_BY}`],
    [
      "had it before it had users, which does not count",
      "baking",
      { options: { ...OPTIONS, watchQueueMs: 2_000 } },
      queue(0),
      `wait ${BEGAN.shifting + 2_000}`,
    ],
    [
      "has it, but the previous generation would not serve just now",
      "baking",
      watched,
      { ...queue(1), previous: { ...STANDBY, ready: 0 } },
      `wait ${BAKED_BY}`,
    ],
    [
      "fails its verification the second time",
      "baking",
      {},
      seenWithUsers({ candidate: provedAt(BAKED_BY, "failed") }),
      "enter rolling-back DEPLOY_VERIFY_FAILED",
    ],
    [
      "does not end it in time",
      "baking",
      {},
      seenWithUsers({ ...late, candidate: provedAt(BAKED_BY, "running") }),
      "enter rolling-back DEPLOY_VERIFY_TIMEOUT",
    ],
    [
      "is not verified a third time while nothing could take its users",
      "baking",
      {},
      seenWithUsers({
        ...late,
        candidate: provedAt(BAKED_BY, "failed"),
        previous: { ...STANDBY, ready: 0 },
      }),
      "wait for a change",
    ],
    ["is promoted before that", "baking", { wish: "promote" }, seenWithUsers({ ...late }), "enter draining"],
  ]);
});

describe("an analysis", () => {
  const policy = { samples: 3, noData: "wait", deadlineMs: 10_000 } as const;
  const with_ = (noData: "wait" | "pass" | "fail") => ({
    options: { ...OPTIONS, analysis: { ...policy, noData } },
  });
  const at = (now: number, overrides: Partial<AnalysisView> | null) =>
    seenWithUsers({
      now,
      candidate: provedAt(BAKED_BY),
      analysis: overrides && {
        stage: BEGAN.baking,
        state: "waiting",
        samples: 0,
        since: BAKED_BY,
        reason: null,
        ...overrides,
      },
    });
  const limit = BAKED_BY + policy.deadlineMs;
  const noData = { state: "no-data" } as const;
  const back = "enter rolling-back DEPLOY_ANALYSIS_NO_DATA";
  check([
    ["begins with the bake", "baking", with_("wait"), at(3_500, null), "analyse"],
    [
      "begins anew when it is of an earlier stage",
      "baking",
      with_("wait"),
      at(3_500, { stage: 2_000 }),
      "analyse",
    ],
    ["begins in a pause too", "baking", { ...with_("wait"), paused: true }, at(3_500, null), "analyse"],
    ["keeps the bake until it has samples", "baking", with_("wait"), at(BAKED_BY, {}), `wait ${limit}`],
    [
      "lets the bake end with them",
      "baking",
      with_("wait"),
      at(BAKED_BY, { state: "passing", samples: 3 }),
      "enter draining",
    ],
    [
      "is not content with too few",
      "baking",
      with_("wait"),
      at(BAKED_BY, { state: "passing", samples: 2 }),
      "wait for a change",
    ],
    [
      "that fails is a way back",
      "baking",
      with_("pass"),
      at(3_500, { state: "failing" }),
      "enter rolling-back DEPLOY_ANALYSIS_FAILED",
    ],
    ["without data is waited for", "baking", with_("wait"), at(BAKED_BY, noData), `wait ${limit}`],
    ["without data is not waited for beyond its deadline", "baking", with_("wait"), at(limit, noData), back],
    ["without a verdict neither", "baking", with_("wait"), at(limit, {}), back],
    [
      "without data can mean failure at once",
      "baking",
      with_("fail"),
      at(3_500, { ...noData, since: 3_400 }),
      back,
    ],
    ["that only waits is no failure yet", "baking", with_("fail"), at(BAKED_BY, {}), `wait ${limit}`],
    [
      "without data can be good, if that is configured",
      "baking",
      with_("pass"),
      at(BAKED_BY, noData),
      "enter draining",
    ],
    ["without a verdict can, at its deadline", "baking", with_("pass"), at(limit, {}), "enter draining"],
    ["without a verdict can not, before it", "baking", with_("pass"), at(BAKED_BY, {}), `wait ${limit}`],
    [
      "is not asked by who promotes",
      "baking",
      { ...with_("wait"), wish: "promote" },
      at(3_500, {}),
      "enter draining",
    ],
  ]);
});
