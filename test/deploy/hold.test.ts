import { describe, expect, it } from "vitest";
import type { Move, Observation, Party } from "../../deploy/fleet.ts";
import {
  advanceHold,
  assertNotHeld,
  decideHold,
  decideResume,
  type Hold,
  isHolding,
  type Standing,
} from "../../deploy/hold.ts";
import { recreate } from "../../deploy/recreate.ts";
import { decideScale } from "../../deploy/scale.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import { candidate, deploymentIn, OPTIONS, previous, seen } from "./records.ts";

const CALM: Standing = {
  service: "api",
  current: { number: 4, version: "1" },
  hold: null,
  latest: deploymentIn("succeeded"),
  nextNumber: 5,
};
const ASKED = { requestedBy: "uid 0", idles: false };
const HOLD = decideHold(CALM, ASKED, 1_000);
const HELD: Standing = { ...CALM, hold: HOLD };
const BUSY: Standing = { ...CALM, latest: deploymentIn("baking") };
const BACK: Standing = { ...CALM, latest: deploymentIn("rolling-back") };

function codeOf(act: () => unknown): string {
  try {
    act();
    return "ok";
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
}

describe("decideHold", () => {
  it("is of the generation that serves, and has a number for the one that takes over", () => {
    expect(HOLD).toMatchObject({ from: 4, to: 5, version: "1", since: 1_000 });
  });

  it("is the one that stands when it is asked for twice", () => {
    expect(decideHold(HELD, { requestedBy: "uid 7", idles: true }, 9_000)).toBe(HOLD);
  });

  it("is refused while something moves, and where nothing serves", () => {
    expect(codeOf(() => decideHold(BUSY, ASKED, 0))).toBe("DEPLOY_IN_PROGRESS");
    expect(codeOf(() => decideHold(BACK, ASKED, 0))).toBe("DEPLOY_ROLLING_BACK");
    expect(codeOf(() => decideHold({ ...CALM, current: null }, ASKED, 0))).toBe("NOTHING_TO_HOLD");
  });

  it("stands in the way of everything but a resume", () => {
    expect(codeOf(() => assertNotHeld(HELD))).toBe("SERVICE_HELD");
    expect(codeOf(() => assertNotHeld(CALM))).toBe("ok");
  });
});

/** A world that does at once what it is told, and dies after so many acts. */
class HeldWorld {
  readonly acts: string[] = [];
  seen: Pick<Observation, "candidate" | "previous"> = { candidate: null, previous: previous() };

  start(_move: Move, instances: number): void {
    this.acts.push(`start ${instances}`);
    this.seen = { ...this.seen, candidate: candidate({ state: "starting", ready: 0, wanted: instances }) };
  }

  weigh({ to }: Move, weight: number): void {
    this.acts.push(`weigh ${to} ${weight}`);
    const { candidate: held } = this.seen;
    this.seen = { candidate: held && { ...held, weight }, previous: previous({ weight: 1 - weight }) };
  }

  retire(_move: Move, generation: Party): void {
    this.acts.push(`retire ${generation}`);
    this.seen = { ...this.seen, previous: previous({ state: "draining", weight: 0 }) };
  }
}

describe("advanceHold", () => {
  it("moves new connections to slots that nobody serves, and then ends what served", () => {
    const world = new HeldWorld();
    advanceHold(world, HOLD, () => world.seen);
    expect(world.acts).toEqual(["start 0", "weigh 5 1", "retire previous"]);
    expect(isHolding(world.seen)).toBe(true);
  });

  it("takes up after a crash where it was, and does nothing twice", () => {
    const world = new HeldWorld();
    world.start(HOLD, 0);
    expect(isHolding(world.seen)).toBe(false);
    advanceHold(world, HOLD, () => world.seen);
    advanceHold(world, HOLD, () => world.seen);
    expect(world.acts).toEqual(["start 0", "weigh 5 1", "retire previous"]);
  });

  it("lets the generation idle where that is wanted", () => {
    const world = new HeldWorld();
    const idle: Hold = { ...HOLD, idles: true };
    advanceHold(world, idle, () => world.seen);
    expect(world.acts).toEqual(["start 0", "weigh 5 1"]);
  });
});

describe("decideResume", () => {
  const asked = { id: "d2", requestedBy: "uid 0", options: OPTIONS };

  it("is a recreate of the same release on the slots that hold the queue", () => {
    const resume = decideResume(HELD, asked, 2_000);
    expect(resume).toMatchObject({ strategy: "recreate", from: 4, to: 5, version: "1", phase: "starting" });
    const waiting = candidate({ state: "starting", weight: 1, ready: 0, wanted: 0 });
    const step = (from: Observation["previous"]) =>
      recreate.next(resume, seen({ candidate: waiting, previous: from }));
    expect(step(null)).toEqual({ do: "resize", generation: "candidate", instances: 2 });
    expect(step(previous({ state: "draining", weight: 0 }))).toMatchObject({ do: "wait" });
    expect(step(previous({ weight: 0 }))).toMatchObject({ do: "retire", generation: "previous" });
  });

  it("does not fall back: the release before is the one that has just failed", () => {
    expect(decideResume(HELD, asked, 2_000).options.fallsBack).toBe(false);
  });

  it("is refused where nothing is held", () => {
    expect(codeOf(() => decideResume(CALM, asked, 0))).toBe("NOT_HELD");
  });
});

describe("decideScale", () => {
  it("resizes the generation that serves, unless it has that number", () => {
    expect(decideScale(CALM, { wanted: 2 }, 3)).toEqual({ do: "resize", instances: 3 });
    expect(decideScale(CALM, { wanted: 3 }, 3)).toEqual({ do: "nothing" });
  });

  it.each<[string, Standing, { wanted: number } | null, number]>([
    ["SCALE_INVALID", CALM, { wanted: 2 }, 0],
    ["SCALE_INVALID", CALM, { wanted: 2 }, 1.5],
    ["SERVICE_HELD", HELD, { wanted: 2 }, 3],
    ["DEPLOY_IN_PROGRESS", BUSY, { wanted: 2 }, 3],
    ["DEPLOY_ROLLING_BACK", BACK, { wanted: 2 }, 3],
    ["NOTHING_TO_SCALE", CALM, null, 3],
  ])("is refused as %s", (code, standing, current, instances) => {
    expect(codeOf(() => decideScale(standing, current, instances))).toBe(code);
  });
});
