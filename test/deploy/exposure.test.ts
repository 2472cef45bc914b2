import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Deployment, enter, reach, weigh } from "../../deploy/deployment.ts";
import { conceal, expose, type Exposure, touched } from "../../deploy/exposure.ts";
import * as reasons from "../../deploy/reasons.ts";
import { candidate, deploymentIn, OPTIONS, previous, seen } from "./records.ts";

/** [for so many milliseconds, this weight, the pinned networks as well]. */
type Stretch = readonly [ms: number, weight: number, pinned?: boolean];

function after(...stretches: readonly Stretch[]): { exposure: Exposure | null; now: number } {
  let exposure: Exposure | null = null;
  let now = 1_000;
  for (const [ms, weight, pinned = false] of stretches) {
    exposure = expose(exposure, weight, pinned, now);
    now += ms;
  }
  return { exposure, now };
}

function touchedAfter(...stretches: readonly Stretch[]) {
  const { exposure, now } = after(...stretches);
  return touched(exposure, now);
}

describe("touched", () => {
  it.each<[string, readonly Stretch[], ReturnType<typeof touched>]>([
    ["is nothing as long as nobody can have come", [[5_000, 0]], null],
    ["is the weight itself while it does not change", [[42_000, 0.05]], touch(0.05, 0.05, 42_000)],
    ["is that weight whatever binary fractions make of it", [[3, 0.2]], { share: 0.2, peak: 0.2, forMs: 3 }],
    [
      "is the average of weights by their time",
      [stretch(30, 0.1), stretch(10, 0.5)],
      touch(0.2, 0.5, 40_000),
    ],
    [
      "does not change when the same weight is given again",
      [stretch(9, 0.1), stretch(1, 0.1)],
      touch(0.1, 0.1, 10_000),
    ],
    [
      "leaves out the time without users",
      [stretch(9, 0.1), stretch(50, 0), stretch(1, 0.1)],
      touch(0.1, 0.1, 10_000),
    ],
    [
      "counts from the pinned networks on, and not them",
      [
        [5_000, 0, true],
        [5_000, 0.5, true],
      ],
      touch(0.25, 0.5, 10_000),
    ],
    ["is what it had, if that was of no time", [[0, 0.05]], touch(0.05, 0.05, 0)],
  ])("%s", (_title, stretches, expected) => {
    expect(touchedAfter(...stretches)).toEqual(expected);
  });

  it("does not run backwards with the wall clock", () => {
    const { exposure } = after([5_000, 0.5]);
    expect(touched(exposure, -10_000)).toEqual(touch(0.5, 0.5, 0));
  });

  it("is, of any history, the sum of its stretches, and never more than the peak", () => {
    const stretches = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 60_000 }), fc.integer({ min: 0, max: 100 }), fc.boolean()),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(stretches, (all) => {
        const had = touchedAfter(...all.map(([ms, percent, pinned]) => [ms, percent / 100, pinned] as const));
        const met = all.filter(([, percent, pinned]) => percent > 0 || pinned);
        expect(had?.forMs ?? 0).toBe(met.reduce((sum, [ms]) => sum + ms, 0));
        if (had === null) return;
        expect(had.share).toBeLessThanOrEqual(had.peak + 1e-9);
        const weightMs = met.reduce((sum, [ms, percent]) => sum + (ms * percent) / 100, 0);
        if (had.forMs > 0) expect(had.share * had.forMs).toBeCloseTo(weightMs, 3);
      }),
    );
  });
});

function stretch(seconds: number, weight: number): Stretch {
  return [seconds * 1_000, weight];
}

function touch(share: number, peak: number, forMs: number) {
  return { share: expect.closeTo(share, 9) as number, peak, forMs };
}

describe("a deploy's exposure", () => {
  const options = { ...OPTIONS, steps: [{ weight: 0.05, forMs: 1_000, pause: false }] };
  const stepped = reach(deploymentIn("shifting", { strategy: "canary", options }), 0, 2_000);

  function at(deployment: Deployment, now: number) {
    return touched(deployment.exposure, now);
  }

  it("begins with a canary's step, before the kernel is told, and is not begun again when it is", () => {
    expect(at(stepped, 12_000)).toEqual(touch(0.05, 0.05, 10_000));
    expect(at(weigh(stepped, 0.05, false, 4_000), 12_000)).toEqual(touch(0.05, 0.05, 10_000));
  });

  it("ends when the deploy begins to go back, and stays as it was then", () => {
    const back = enter(stepped, "rolling-back", null, 44_000);
    expect(at(back, 99_000)).toEqual(touch(0.05, 0.05, 42_000));
    expect(at(enter(weigh(back, 0, false, 44_000), "rolled-back", null, 50_000), 99_000)).toEqual(
      touch(0.05, 0.05, 42_000),
    );
  });

  it("ends with the bake, whatever weight is put right while the previous generation drains", () => {
    const baking = enter(weigh(stepped, 1, false, 12_000), "baking", null, 12_000);
    const draining = enter(baking, "draining", null, 22_000);
    expect(at(weigh(draining, 1, false, 30_000), 99_000)).toEqual(touch(10.5 / 20, 1, 20_000));
  });

  it("goes on when a deploy that goes back has to go forward after all", () => {
    const back = enter(stepped, "rolling-back", null, 12_000);
    expect(at(weigh(back, 1, false, 20_000), 30_000)).toEqual(touch(10.5 / 20, 1, 20_000));
  });

  it("is nothing when there is nothing to conceal", () => {
    expect(conceal(null, 5)).toBeNull();
  });
});

describe("the reason of a deploy that goes back says what its candidate had", () => {
  const serving = { candidate: candidate({ weight: 0.05 }), previous: previous({ weight: 0.95 }) };

  function said(
    now: number,
    ...weights: readonly (readonly [at: number, weight: number, pinned?: boolean])[]
  ) {
    let deployment = deploymentIn("shifting");
    for (const [at, weight, pinned = false] of weights) deployment = weigh(deployment, weight, pinned, at);
    return reasons.rolledBack(deployment, seen({ ...serving, now })).message;
  }

  it.each([
    [said(44_000, [2_000, 0.05]), "Generation 5 had 5 % of new connections for 42s."],
    [said(5_250, [2_000, 0.3333]), "Generation 5 had 33.3 % of new connections for 3.3s."],
    [
      said(402_000, [2_000, 0.1], [302_000, 0.5]),
      "Generation 5 had 20 % of new connections (50 % at most) for 6m40s.",
    ],
    [said(4_000, [2_000, 0, true]), "Generation 5 had all of the pinned networks' for 2s."],
    [
      said(4_000, [2_000, 0.05, true]),
      "Generation 5 had 5 % of new connections, and all of the pinned networks' for 2s.",
    ],
  ])("%s", (message, sentence) => {
    expect(message).toContain(`on request. New connections go to generation 4 again. ${sentence}`);
  });

  it("and nothing where nobody met it", () => {
    const message = reasons.aborted(deploymentIn("verifying"), seen()).message;
    expect(message).toBe("The deploy was aborted on request. Traffic stays on generation 4.");
  });
});
