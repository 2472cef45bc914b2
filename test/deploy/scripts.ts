/** Random scripts for the simulated fleet, and the longest that a deploy may take by them. */
import fc from "fast-check";
import type { DeployOptions } from "../../deploy/deployment.ts";
import type { Script } from "./simulated-fleet.ts";

export interface Schedule {
  readonly script: Script;
  readonly options: DeployOptions;
  readonly isFirst: boolean;
}

const time = (max: number) => fc.integer({ min: 0, max });
const seldom = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 2, arbitrary: fc.constant(null) }, { weight: 1, arbitrary });
const oneInSix = fc.oneof(
  { weight: 5, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: fc.constant(true) },
);
const ask = fc.constantFrom("promote", "abort", "rollback", "rollback", "pause", "continue" as const);
const outcome = fc.constantFrom("passed", "passed", "passed", "passed", "passed", "failed", "hangs" as const);

/** After these no deploy is paused; several, because the daemon may be away at some of them. */
const CONTINUES = [100, 150, 200, 250, 300].map((seconds) => ({
  at: seconds * 1_000,
  ask: "continue" as const,
}));

const independent: fc.Arbitrary<Script> = fc.record({
  wanted: fc.integer({ min: 1, max: 3 }),
  boots: fc.array(fc.option(time(6_000), { freq: 30 }), { minLength: 3, maxLength: 3 }),
  exits: fc.array(fc.record({ at: time(40_000), backAfter: time(5_000) }), { maxLength: 1 }),
  candidateDies: seldom(time(40_000)),
  previousDies: seldom(time(40_000)),
  previousBlinks: seldom(fc.record({ at: time(40_000), lasts: time(20_000) })),
  drainMs: time(8_000),
  verifications: fc.array(fc.record({ takes: time(4_000), outcome }), { minLength: 1, maxLength: 3 }),
  orders: fc
    .array(fc.record({ at: time(40_000), ask }), { maxLength: 4 })
    .map((orders) => [...orders, ...CONTINUES]),
  deaths: fc.uniqueArray(fc.record({ operation: time(30), done: fc.boolean(), away: time(20_000) }), {
    maxLength: 5,
    selector: ({ operation }) => operation,
  }),
});

/** Sometimes both generations die of one cause, which is how a deploy comes to have nothing left. */
const script = fc
  .tuple(independent, oneInSix)
  .map(([each, isOneCause]) => (isOneCause ? { ...each, previousDies: each.candidateDies } : each));

export const schedules: fc.Arbitrary<Schedule> = fc.record({
  script,
  options: fc.record({
    readyTimeoutMs: fc.integer({ min: 5_000, max: 12_000 }),
    verifyTimeoutMs: fc.integer({ min: 2_000, max: 12_000 }),
    bakeMs: fc.oneof(fc.constant(0), time(30_000)),
    watchExits: fc.integer({ min: 0, max: 2 }),
  }),
  isFirst: fc.oneof(
    { weight: 5, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
});

/** The sum of all limits: they count from when their phase began, so a death costs no more than the absence. */
export function longestMs({ script: { orders, deaths, drainMs }, options }: Schedule): number {
  const { readyTimeoutMs, verifyTimeoutMs, bakeMs } = options;
  const paused = orders.some((order) => order.ask === "pause") ? 300_000 : 0;
  const away = deaths.reduce((sum, death) => sum + death.away, 0);
  return readyTimeoutMs + verifyTimeoutMs + bakeMs + drainMs + paused + away;
}
