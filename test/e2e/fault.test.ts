/** SIGKILL at every named point: all of them by `npm run soak -- faults`, here a few, others on each day. */
import { expect, test } from "vitest";
import { FAULT_POINTS, type FaultPoint, POINTS_OF_STEP } from "../../daemon/fault.ts";
import { FaultStage } from "../support/faults.ts";
import { Random } from "../support/random.ts";
import { NOTHING } from "../support/stage.ts";

const SAMPLE = 2;

test(
  "every fault point is passed by one of the scenarios, and every step of a deploy has points",
  { timeout: 120_000 },
  async () => {
    await using stage = await FaultStage.open();
    await stage.walk();
    const { passed } = stage;
    expect(FAULT_POINTS.filter((point) => !passed.has(point))).toEqual([]);
    expect(
      Object.values(POINTS_OF_STEP)
        .flat()
        .filter((point) => !FAULT_POINTS.includes(point)),
    ).toEqual([]);
  },
);

// Where a death is most delicate, always; then others.
const ALWAYS = [
  "deploy.weigh.before",
  "deploy.fallBack.after",
  "hold.weigh.after",
  "drain.recorded",
  "drain.signalled",
  "upgrade.entered",
  "recovery.resumed",
] as const;
const seed = Math.floor(Date.now() / 86_400_000);
const others = FAULT_POINTS.filter((point) => !ALWAYS.some((each) => each === point));
const sample: readonly FaultPoint[] = [...ALWAYS, ...new Random(seed).shuffle(others).slice(0, SAMPLE)];

// The same with systemd's way to keep descriptors; more of it in test/systemd.
const SAMPLES = [
  ["handoff-keeper", "process", sample],
  ["a descriptor store", "fdstore", ["deploy.weigh.before", "upgrade.entered", "reload.ended"]],
] as const;

test.each(SAMPLES)(
  `the daemon killed at points, with %s, is noticed by nobody (seed ${seed})`,
  { timeout: 300_000 },
  async (_name, keeper, points) => {
    await using stage = await FaultStage.open(keeper);
    for (const point of points) {
      const { losses, wrong } = await stage.survive(point);
      expect({ point, losses, wrong }).toEqual({ point, losses: losses.map(() => NOTHING), wrong: [] });
    }
  },
);
