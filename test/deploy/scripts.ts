/** Random scripts for the simulated fleet, and the longest that a deploy may take by them. */
import fc from "fast-check";
import type { CanaryStep, DeployOptions, Wish } from "../../deploy/deployment.ts";
import type { Sample } from "../../deploy/judgement.ts";
import type { LifeScript } from "./simulated-world.ts";

export type Order = Wish | "pause" | "continue";

export interface Script {
  readonly candidate: LifeScript;
  readonly previous: LifeScript;
  readonly fallback: LifeScript;
  /** One for each attempt, then from the beginning again. */
  readonly verifications: readonly {
    readonly takes: number;
    readonly outcome: "passed" | "failed" | "hangs";
  }[];
  /** One for each look, then from the beginning again. */
  readonly samples: readonly Sample["verdict"][];
  readonly everyMs: number;
  readonly orders: readonly { readonly at: number; readonly ask: Order }[];
  /** The daemon dies at its n-th operation, before or after that was done, and is away for a while. */
  readonly deaths: readonly { readonly operation: number; readonly done: boolean; readonly away: number }[];
}

export interface Schedule {
  readonly script: Script;
  readonly options: DeployOptions;
  readonly isFirst: boolean;
}

const time = (max: number) => fc.integer({ min: 0, max });
const once = <T>(likely: number, usual: T, arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: likely, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary });
const seldom = <T>(arbitrary: fc.Arbitrary<T>) => once<T | null>(3, null, arbitrary);
const sometimes = (likely: number) => once(likely, false, fc.constant(true));
const ask = fc.constantFrom("promote", "abort", "rollback", "rollback", "pause", "continue" as const);
const outcome = once<"passed" | "failed" | "hangs">(8, "passed", fc.constantFrom("failed", "hangs"));
const instances = fc.integer({ min: 1, max: 4 });
const period = fc.record({ at: time(60_000), lasts: time(20_000) });

/** After these no deploy is paused; so many, because the daemon may be away at some of them. */
const CONTINUES = Array.from({ length: 12 }, (_, index) => ({
  at: 100_000 + index * 50_000,
  ask: "continue" as const,
}));
const PAUSED_MS = 700_000;

const life: fc.Arbitrary<LifeScript> = fc.record({
  slotsAfter: once<number | null>(8, 0, fc.option(time(2_000))),
  boots: fc.array(fc.option(time(4_000), { freq: 40 }), { minLength: 4, maxLength: 4 }),
  exits: once<readonly LifeScript["exits"][number][]>(
    3,
    [],
    fc.array(fc.record({ at: time(60_000), backAfter: time(5_000) }), { maxLength: 2 }),
  ),
  dies: once<number | null>(5, null, time(60_000)),
  blinks: seldom(period),
  queues: seldom(period),
  drainMs: time(8_000),
});

const independent: fc.Arbitrary<Script> = fc.record({
  candidate: life,
  previous: life,
  fallback: life,
  verifications: fc.array(fc.record({ takes: time(4_000), outcome }), { minLength: 1, maxLength: 4 }),
  samples: fc.array(fc.constantFrom("good", "good", "good", "good", "good", "none", "none", "bad" as const), {
    minLength: 1,
    maxLength: 6,
  }),
  everyMs: fc.integer({ min: 1_000, max: 5_000 }),
  orders: fc
    .array(fc.record({ at: time(60_000), ask }), { maxLength: 3 })
    .map((orders) => [...orders, ...CONTINUES]),
  deaths: fc.uniqueArray(
    fc.record({ operation: fc.oneof(time(20), time(80)), done: fc.boolean(), away: time(20_000) }),
    {
      maxLength: 4,
      selector: ({ operation }) => operation,
    },
  ),
});

/**
 * Only a candidate's slots are new. Sometimes both generations die of one cause, which is how a deploy comes to have
 * nothing left.
 */
const script = fc.tuple(independent, sometimes(3)).map(([each, isOneCause]): Script => {
  const previous = { ...each.previous, slotsAfter: 0 };
  return {
    ...each,
    previous: isOneCause ? { ...previous, dies: each.candidate.dies } : previous,
    fallback: { ...each.fallback, slotsAfter: 0 },
  };
});

const steps: fc.Arbitrary<readonly CanaryStep[]> = fc
  .array(fc.record({ weight: fc.integer({ min: 0, max: 99 }), forMs: time(12_000), pause: sometimes(4) }), {
    maxLength: 3,
  })
  .map((all) =>
    all.sort((a, b) => a.weight - b.weight).map((step) => ({ ...step, weight: step.weight / 100 })),
  );

export const schedules: fc.Arbitrary<Schedule> = fc.record({
  script,
  options: fc.record({
    instances,
    previousInstances: instances,
    readyTimeoutMs: fc.integer({ min: 4_000, max: 12_000 }),
    verifyTimeoutMs: fc.integer({ min: 2_000, max: 12_000 }),
    bakeMs: fc.oneof(fc.constant(0), time(30_000)),
    watchExits: fc.integer({ min: 0, max: 2 }),
    watchQueueMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 12_000 })),
    steps,
    floor: fc.integer({ min: 1, max: 5 }),
    hasPins: sometimes(3),
    fallsBack: once(5, true, fc.constant(false)),
    overlaps: fc.constant(false),
    analysis: fc.option(
      fc.record({
        samples: fc.integer({ min: 1, max: 3 }),
        noData: fc.constantFrom("wait", "pass", "fail" as const),
        deadlineMs: fc.integer({ min: 5_000, max: 20_000 }),
      }),
    ),
  }),
  isFirst: sometimes(6),
});

/** The sum of all limits: they count from when something began, so a death costs no more than the absence, and what the
 * daemon has only in memory anew. */
export function longestMs({ script: each, options }: Schedule): number {
  const { readyTimeoutMs, verifyTimeoutMs, bakeMs, instances: most, previousInstances, analysis } = options;
  const { candidate, previous, fallback } = each;
  const stages = options.steps.length + 2;
  const resizes = 2 * most + previousInstances + 3;
  const drains = candidate.drainMs + fallback.drainMs + previous.drainMs * (previousInstances + 1);
  const verdict = (analysis?.deadlineMs ?? 0) + each.everyMs * ((analysis?.samples ?? 0) + 1);
  const perDeath = verifyTimeoutMs + verdict;
  const away = each.deaths.reduce((sum, death) => sum + death.away + perDeath, 0);
  // While none of the previous generation is ready, nothing goes on that would need it.
  const blink = previous.blinks === null ? 0 : previous.blinks.at + previous.blinks.lasts;
  const held = options.steps.reduce((sum, { forMs }) => sum + forMs, bakeMs);
  const isPaused =
    each.orders.some((order) => order.ask === "pause") || options.steps.some((step) => step.pause);
  const limits = readyTimeoutMs * resizes + (verifyTimeoutMs + verdict) * stages;
  return limits + held + drains + away + blink + (isPaused ? PAUSED_MS : 0) + 100_000;
}
