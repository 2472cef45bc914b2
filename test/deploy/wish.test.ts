import { describe, expect, it } from "vitest";
import type { Deployment, Phase, Wish } from "../../deploy/deployment.ts";
import type { Observation } from "../../deploy/fleet.ts";
import { setPaused, wish } from "../../deploy/wish.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import { deploymentIn, previous, seen } from "./records.ts";

function answer(act: () => Deployment): string {
  try {
    return act().wish ?? "ok";
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
}

const ended = "DEPLOY_ALREADY_ENDED";
const TABLE: readonly (readonly [Phase, Record<Wish, string>])[] = [
  ["starting", { promote: "promote", abort: "abort", rollback: "DEPLOY_NOT_SHIFTED" }],
  ["verifying", { promote: "promote", abort: "abort", rollback: "DEPLOY_NOT_SHIFTED" }],
  ["shifting", { promote: "promote", abort: "abort", rollback: "DEPLOY_NOT_SHIFTED" }],
  ["baking", { promote: "promote", abort: "abort", rollback: "rollback" }],
  ["draining", { promote: "DEPLOY_TOO_LATE", abort: "DEPLOY_TOO_LATE", rollback: "DEPLOY_TOO_LATE" }],
  [
    "rolling-back",
    { promote: "DEPLOY_ROLLING_BACK", abort: "DEPLOY_ROLLING_BACK", rollback: "DEPLOY_ROLLING_BACK" },
  ],
  ["succeeded", { promote: ended, abort: ended, rollback: ended }],
  ["rolled-back", { promote: ended, abort: ended, rollback: ended }],
  ["failed", { promote: ended, abort: ended, rollback: ended }],
  ["aborted", { promote: ended, abort: ended, rollback: ended }],
];

describe("wish", () => {
  it.each(TABLE)("answers each wish as documented while %s", (phase, answers) => {
    for (const asked of ["promote", "abort", "rollback"] as const) {
      expect(answer(() => wish(deploymentIn(phase), asked, seen()))).toBe(answers[asked]);
    }
  });

  it("can be to go back as soon as the candidate may have met a user", () => {
    expect(wish(deploymentIn("shifting", { weight: 1 }), "rollback", seen()).wish).toBe("rollback");
  });

  it.each<[string, Partial<Observation>, Partial<Deployment>]>([
    ["has failed", { previous: previous({ state: "failed", ready: 0 }) }, {}],
    ["has stopped", { previous: previous({ state: "stopped", ready: 0 }) }, {}],
    ["is ending", { previous: previous({ state: "draining" }) }, {}],
    ["never was", { previous: null }, { from: null }],
  ])("cannot be to go back to a generation that %s, and says what serves", (_name, world, overrides) => {
    const deployment = deploymentIn("baking", overrides);
    for (const asked of ["abort", "rollback"] as const) {
      expect(answer(() => wish(deployment, asked, seen(world)))).toBe("DEPLOY_NO_WAY_BACK");
      expect(() => wish(deployment, asked, seen(world))).toThrow("Generation 5 goes on serving");
    }
    expect(wish(deployment, "promote", seen(world)).wish).toBe("promote");
  });

  it("can be to go back under recreate, whose previous release can be started again", () => {
    const world = seen({ previous: previous({ state: "stopped", ready: 0 }) });
    const again = deploymentIn("verifying", { strategy: "recreate", weight: 1 });
    expect(wish(again, "rollback", world).wish).toBe("rollback");
    const same = { ...again, options: { ...again.options, fallsBack: false } };
    expect(answer(() => wish(same, "abort", world))).toBe("DEPLOY_NO_WAY_BACK");
  });

  it("can be to abort without a previous generation, as long as nobody has met the candidate", () => {
    expect(wish(deploymentIn("verifying", { from: null }), "abort", seen({ previous: null })).wish).toBe(
      "abort",
    );
  });

  it("replaces the earlier one and ends a pause", () => {
    const deployment = deploymentIn("baking", { wish: "promote", paused: true });
    expect(wish(deployment, "rollback", seen())).toMatchObject({ wish: "rollback", paused: false });
  });
});

describe("setPaused", () => {
  it.each(TABLE)("is allowed only in an active phase: %s", (phase, answers) => {
    const expected = answers.abort === "abort" ? "ok" : answers.abort;
    for (const paused of [true, false]) {
      expect(answer(() => setPaused(deploymentIn(phase, { paused }), paused, 9_000))).toBe(expected);
      expect(answer(() => setPaused(deploymentIn(phase, { paused: !paused }), paused, 9_000))).toBe(expected);
    }
  });

  it("ends a canary's step when it is continued, and not when nobody holds it", () => {
    const step = { index: 0, since: 4_000, continuedAt: null };
    const held = deploymentIn("shifting", { strategy: "canary", step, paused: true });
    expect(setPaused(held, false, 9_000)).toMatchObject({ paused: false, step: { continuedAt: 9_000 } });
    expect(setPaused({ ...held, paused: false }, false, 9_000).step).toEqual(step);
    expect(setPaused(held, true, 9_000).step).toEqual(step);
  });
});
