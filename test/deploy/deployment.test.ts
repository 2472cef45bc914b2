import { describe, expect, it } from "vitest";
import { beginDeployment } from "../../deploy/begin.ts";
import {
  enter,
  hasHadUsers,
  isActive,
  isTerminal,
  type Phase,
  PHASES,
  reach,
  stageStartedAt,
} from "../../deploy/deployment.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import { deploymentIn, OPTIONS, request } from "./records.ts";

const ALL = Object.keys(PHASES) as Phase[];

function codeOf(act: () => unknown): string | null {
  try {
    act();
    return null;
  } catch (error) {
    return hasCode(error, "DEPLOY_IN_PROGRESS") ? error.code : String(error);
  }
}

describe("beginDeployment", () => {
  it("opens the first phase at the instant at which the deploy begins, with nothing on the candidate", () => {
    const deployment = beginDeployment(request(), null, 77);
    expect(deployment).toMatchObject({
      phase: "starting",
      startedAt: 77,
      finishedAt: null,
      weight: 0,
      wish: null,
    });
    expect(deployment.phases).toEqual([{ phase: "starting", startedAt: 77, finishedAt: null }]);
  });

  it("is refused by a recreate that goes back: a second generation would run beside what it starts", () => {
    const back = deploymentIn("rolling-back", { strategy: "recreate" });
    expect(() => beginDeployment(request(), back, 9_000)).toThrow("Wait for its end");
  });

  it("is refused by a deploy that is active and by no other", () => {
    const blocking = ALL.filter(
      (phase) => codeOf(() => beginDeployment(request(), deploymentIn(phase), 9_000)) !== null,
    );
    expect(blocking).toEqual(["starting", "verifying", "shifting", "baking"]);
    expect(codeOf(() => beginDeployment(request(), deploymentIn("baking"), 9_000))).toBe(
      "DEPLOY_IN_PROGRESS",
    );
  });
});

describe("enter", () => {
  it("closes the open phase at the instant at which the next begins", () => {
    expect(deploymentIn("shifting").phases).toEqual([
      { phase: "starting", startedAt: 0, finishedAt: 1_000 },
      { phase: "verifying", startedAt: 1_000, finishedAt: 2_000 },
      { phase: "shifting", startedAt: 2_000, finishedAt: null },
    ]);
  });

  it("closes a terminal phase, and the deploy, at once", () => {
    const ended = enter(deploymentIn("verifying"), "failed", { code: "X", message: "x" }, 1_500);
    expect(ended.finishedAt).toBe(1_500);
    expect(ended.phases.at(-1)).toEqual({ phase: "failed", startedAt: 1_500, finishedAt: 1_500 });
  });

  it("keeps the reason that stands unless it is given another", () => {
    const reason = { code: "X", message: "x" };
    const back = enter(deploymentIn("baking"), "rolling-back", reason, 4_000);
    expect(enter(back, "rolled-back", null, 5_000).reason).toEqual(reason);
  });

  it("never lets a phase end before it began, even if the wall clock was set back", () => {
    const baking = enter(deploymentIn("shifting"), "baking", null, 500);
    expect(baking.phases.at(-2)).toEqual({ phase: "shifting", startedAt: 2_000, finishedAt: 2_000 });
    expect(baking.phases.at(-1)?.startedAt).toBe(2_000);
  });

  it("ends a pause that nobody could end any more", () => {
    expect(enter(deploymentIn("baking", { paused: true }), "draining", null, 4_000).paused).toBe(false);
    expect(enter(deploymentIn("shifting", { paused: true }), "baking", null, 4_000).paused).toBe(true);
  });

  it("takes a move that the table does not have for a bug", () => {
    for (const from of ALL) {
      for (const to of ALL) {
        const move = () => enter(deploymentIn(from), to, null, 9_000);
        if (PHASES[from].includes(to)) expect(move().phase).toBe(to);
        else expect(move).toThrow(`cannot go from ${from} to ${to}`);
      }
    }
  });
});

describe("the predicates", () => {
  it("know the ended, the active and those whose candidate may have met a user", () => {
    expect(ALL.filter((phase) => isTerminal(deploymentIn(phase)))).toEqual([
      "succeeded",
      "rolled-back",
      "failed",
      "aborted",
    ]);
    expect(ALL.filter((phase) => isActive(deploymentIn(phase)))).toEqual([
      "starting",
      "verifying",
      "shifting",
      "baking",
    ]);
    expect(ALL.filter((phase) => !hasHadUsers(deploymentIn(phase)))).toEqual([
      "starting",
      "verifying",
      "shifting",
      "failed",
      "aborted",
    ]);
    expect(hasHadUsers(deploymentIn("shifting", { weight: 0.05 }))).toBe(true);
    expect(hasHadUsers(deploymentIn("shifting", { pinned: true }))).toBe(true);
  });
});

describe("reach", () => {
  const steps = [
    { weight: 0.05, forMs: 1_000, pause: false },
    { weight: 0.5, forMs: 1_000, pause: true },
  ];
  const shifting = deploymentIn("shifting", { strategy: "canary", options: { ...OPTIONS, steps } });

  it("writes down the step's weight, its pause, and when it was reached", () => {
    expect(reach(shifting, 0, 2_500)).toMatchObject({ weight: 0.05, paused: false });
    const second = reach(reach(shifting, 0, 2_500), 1, 4_000);
    expect(second).toMatchObject({ weight: 0.5, paused: true });
    expect(second.step).toEqual({ index: 1, since: 4_000, continuedAt: null });
    expect(stageStartedAt(second)).toBe(4_000);
    expect(stageStartedAt(enter(second, "baking", null, 5_000))).toBe(5_000);
  });

  it("never goes back in time, even if the wall clock was set back", () => {
    expect(reach(reach(shifting, 0, 2_500), 1, 100).step?.since).toBe(2_500);
  });

  it("takes a step that does not exist for a bug", () => {
    expect(() => reach(shifting, 2, 4_000)).toThrow("has no step 2");
  });
});
