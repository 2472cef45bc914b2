/** What must never happen, each asked at the instant at which it would: a sentence for each rule that is broken. */
import { type Deployment, stageStartedAt } from "../../deploy/deployment.ts";
import { type AnalysisView, isEnding, isOver, type Party } from "../../deploy/fleet.ts";
import type { Generation } from "./simulated-world.ts";

export interface World {
  readonly candidate: Generation | null;
  readonly previous: Generation | null;
  readonly fallback: Generation | null;
  readonly hasPassed: boolean;
}

type Broken = readonly (readonly [isBroken: boolean, sentence: string])[];

export function weighing(disk: Deployment, world: World, share: number, pinned: boolean): Broken {
  const { candidate, previous, hasPassed } = world;
  const isProved = hasPassed || isRecreate(disk) || disk.phase === "draining";
  if (candidate === null) return [];
  const takes = share > candidate.weight ? candidate : previous;
  const isGone = takes === null || isEnding(takes.view);
  const isNeeded = previous !== null && isEnding(previous.view);
  const isFirst = candidate.weight === 0 && share > 0;
  const hasOther = previous !== null && !isNeeded;
  return [
    [disk.weight !== share || disk.pinned !== pinned, "gives a weight that is not on record"],
    [(share > 0 || pinned) && !isProved, "gives weight to a candidate that has not been proved"],
    [share > 0 && !candidate.placed, "gives weight to a candidate without slots"],
    [share !== candidate.weight && isGone, "gives weight to a generation that is over"],
    [isFirst && disk.paused && !isNeeded && !mayBePaused(disk), "gives users to the candidate in a pause"],
    [
      isFirst && candidate.ready === 0 && hasOther && !isRecreate(disk),
      "gives users to one that is not ready",
    ],
  ];
}

/** A canary's step is paused as soon as it is recorded, and pauses do not hold what nobody serves meanwhile. */
function mayBePaused(disk: Deployment): boolean {
  return disk.step !== null || isRecreate(disk);
}

export function retiring(disk: Deployment, world: World, which: Party): Broken {
  const hasWeight = (world[which]?.weight ?? 0) > 0;
  const isLast = isRecreate(disk) && which !== "previous";
  const isEarly = isRecreate(disk) ? (world.candidate?.weight ?? 0) < 1 : disk.phase !== "draining";
  return [
    [hasWeight && !isLast, `retires the ${which} generation while it has weight`],
    [which === "previous" && isEarly, "retires the previous generation too early"],
  ];
}

/** `change` is an act: what exits by itself breaks no rule. */
export function floor(disk: Deployment, world: World, change: () => void): Broken {
  if (disk.strategy !== "rolling" || world.previous === null || isEnding(world.previous.view)) {
    change();
    return [];
  }
  const least = Math.min(disk.options.floor, disk.options.instances, disk.options.previousInstances);
  const before = serving(world);
  const capacityBefore = capacity(world);
  change();
  const isFewer = serving(world) < before && serving(world) < least;
  // To leave a bad candidate for instances that happen to be away just now is not to take them away.
  return [
    [
      isFewer && capacity(world) < capacityBefore && capacity(world) < least,
      "serves with less than the floor",
    ],
    [isFewer && disk.phase === "shifting", "goes forward below the floor"],
  ];
}

function serving({ candidate, previous }: World): number {
  return [candidate, previous].reduce((sum, each) => sum + (each && each.weight > 0 ? each.ready : 0), 0);
}

function capacity({ candidate, previous }: World): number {
  return [candidate, previous].reduce(
    (sum, each) => sum + (each && each.weight > 0 ? each.view.wanted : 0),
    0,
  );
}

export function always(disk: Deployment, { candidate, previous, fallback }: World): Broken {
  const parties = [candidate, previous, fallback].filter((each) => each !== null);
  const held = parties.reduce((sum, { weight }) => sum + weight, 0);
  const alive = parties.filter(({ isAlive }) => isAlive);
  const isFirstStart = previous === null && held === 0;
  return [
    [Math.abs(held - 1) > 1e-9 && !isFirstStart, `has weights that sum to ${held}`],
    [parties.some(({ weight }) => !(weight >= 0 && weight <= 1)), "has a weight beyond 0 and 1"],
    [isRecreate(disk) && alive.length > 1, "runs two generations at once"],
  ];
}

/** A stage is left for the next only when its time is over, and its analysis has the samples, unless someone said otherwise. */
export function leaving(
  before: Deployment,
  after: Deployment,
  { previous }: World,
  analysis: AnalysisView | null,
  now: number,
): Broken {
  const isNextStep = before.step !== null && before.step.index !== after.step?.index;
  const isLastStep = before.step !== null && before.weight < 1 && after.weight === 1;
  const isBaked = before.phase === "baking" && after.phase === "draining";
  const isForced = after.reason !== null || before.phase === "rolling-back";
  const isAlone = !isRecreate(before) && (previous === null || isEnding(previous.view));
  if (isAlone || isForced || !(isNextStep || isLastStep || isBaked)) return [];
  const { bakeMs, steps, analysis: policy, fallsBack } = before.options;
  if (isRecreate(before) && !fallsBack) return [];
  const isHeld: Broken = [[before.paused, "leaves a stage that is held"]];
  if (before.wish === "promote") return isHeld;
  const forMs = isBaked ? bakeMs : before.step?.continuedAt === null ? steps[before.step.index]?.forMs : 0;
  const stage = stageStartedAt(before);
  const good = analysis?.stage === stage ? analysis.samples : -1;
  return [
    [now < stage + (forMs ?? 0), "leaves a stage before its time"],
    ...isHeld,
    [policy?.noData === "wait" && good < policy.samples, "leaves a stage without the samples it needs"],
    [policy !== null && analysis?.state === "failing", "leaves a stage whose analysis fails"],
  ];
}

export function ending(disk: Deployment, world: World): Broken {
  const { candidate, previous } = world;
  const isLeft = candidate !== null && !isEnding(candidate.view);
  const wentBack = disk.phases.some(({ phase }) => phase === "rolling-back");
  if (disk.phase === "succeeded") {
    return [
      [candidate?.weight !== 1, "has succeeded without the weight"],
      [previous !== null && !isOver(previous.state), "has succeeded before the drain"],
    ];
  }
  return [
    [isLeft, "has ended and forgotten its candidate"],
    [wentBack && candidate !== null && !isOver(candidate.state), "is back before its candidate has ended"],
  ];
}

function isRecreate({ strategy, from }: Deployment): boolean {
  return strategy === "recreate" && from !== null;
}
