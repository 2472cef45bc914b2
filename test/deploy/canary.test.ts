import { describe } from "vitest";
import type { CandidateView } from "../../deploy/fleet.ts";
import { BEGAN, candidate, previous, seen } from "./records.ts";
import { checkOf, GONE, type Row } from "./steps.ts";

const STEPS = [
  { weight: 0.05, forMs: 1_000, pause: false },
  { weight: 0.5, forMs: 10_000, pause: true },
];
const SINCE = 3_000;
const DUE = SINCE + 1_000;

/** At a step, and the kernel has its weight. */
const at = (index: number, overrides = {}) => ({
  weight: STEPS[index]?.weight ?? 1,
  step: { index, since: SINCE, continuedAt: null },
  ...overrides,
});
const world = (weight: number, now: number, overrides: Partial<CandidateView> = {}) =>
  seen({
    now,
    candidate: candidate({ state: "serving", weight, ...overrides }),
    previous: previous({ weight: 1 - weight }),
  });
const proved = (verificationSince: number) => ({ verification: "passed", verificationSince }) as const;
const continued = { index: 1, since: SINCE, continuedAt: 5_000 };

function check(rows: readonly Row[]): void {
  checkOf("canary", rows, { steps: STEPS, watchQueueMs: 500 });
}

describe("a canary", () => {
  check([
    ["starts and proves its candidate as any other", "verifying", {}, seen(), "verify"],
    ["reaches the first step behind the gate", "shifting", {}, seen(), "reach 0"],
    ["can be held at the gate", "shifting", { paused: true }, seen(), "wait for a change"],
    ["gives the weight that was recorded", "shifting", at(0), world(0, SINCE), "weigh 0.05"],
    ["stays for the step's time", "shifting", at(0), world(0.05, 3_500), `wait ${DUE}`],
    ["verifies again before it goes on", "shifting", at(0), world(0.05, DUE), "verify"],
    [
      "is not content with a proof of before",
      "shifting",
      at(0),
      world(0.05, DUE, proved(BEGAN.verifying)),
      "verify",
    ],
    ["reaches the next step then", "shifting", at(0), world(0.05, DUE, proved(DUE)), "reach 1"],
    ["stays while it is held", "shifting", at(1, { paused: true }), world(0.5, 90_000), "wait for a change"],
    [
      "verifies when it is continued, whatever is left of the time",
      "shifting",
      at(1, { step: continued }),
      world(0.5, 5_000),
      "verify",
    ],
    [
      "waits for a proof that was under way then, to begin another",
      "shifting",
      at(1, { step: continued }),
      world(0.5, 5_000, { verification: "running", verificationSince: 4_900 }),
      "wait 9900",
    ],
    [
      "gives everything after the last step",
      "shifting",
      at(1, { step: continued }),
      world(0.5, 5_000, proved(5_000)),
      "weigh 1",
    ],
    ["bakes then", "shifting", at(1, { weight: 1 }), world(1, 5_100), "enter baking"],
    [
      "skips the steps when it is promoted",
      "shifting",
      at(0, { wish: "promote" }),
      world(0.05, 3_100),
      "weigh 1",
    ],
    [
      "is held by a later pause even then",
      "shifting",
      at(0, { wish: "promote", paused: true }),
      world(0.05, 3_100),
      "wait for a change",
    ],
    ["skips them before the first, too", "shifting", { wish: "promote" }, seen(), "weigh 1"],
  ]);
});

describe("a canary that goes back", () => {
  check([
    [
      "does so at a step that is held",
      "shifting",
      at(1, { paused: true }),
      world(0.5, 4_000, { queueSince: 3_200 }),
      "enter rolling-back DEPLOY_QUEUE_STUCK",
    ],
    [
      "is woken for it in time",
      "shifting",
      at(1, { paused: true }),
      world(0.5, 3_400, { queueSince: 3_200 }),
      "wait 3700",
    ],
    [
      "does so when the second proof fails",
      "shifting",
      at(0),
      world(0.05, DUE, { verification: "failed", verificationSince: DUE }),
      "enter rolling-back DEPLOY_VERIFY_FAILED",
    ],
    ["takes the weight first", "rolling-back", at(1), world(0.5, 9_000), "weigh 0"],
    [
      "gives all to the candidate when there is no one else, steps or not",
      "shifting",
      at(0, { paused: true }),
      { ...world(0.05, 3_100), previous: { ...GONE, weight: 0.95 } },
      "weigh 1",
    ],
  ]);
});

describe("a canary's step of weight 0", () => {
  const options = { steps: [{ weight: 0, forMs: 1_000, pause: false }], hasPins: true };
  const pinned = { pinned: true, step: { index: 0, since: SINCE, continuedAt: null } };
  const rows: readonly Row[] = [
    ["comes after the pins", "shifting", {}, seen(), "weigh 0 pinned"],
    [
      "is for the pinned networks alone",
      "shifting",
      pinned,
      world(0, 3_500, { pinned: true }),
      `wait ${DUE}`,
    ],
    [
      "ends as any other",
      "shifting",
      pinned,
      world(0, DUE, { pinned: true, ...proved(DUE) }),
      "weigh 1 pinned",
    ],
  ];
  checkOf("canary", rows, options);
});

describe("a canary's first start", () => {
  const rows: readonly Row[] = [
    ["takes all weight at once", "shifting", { from: null }, seen({ previous: null }), "weigh 1"],
  ];
  checkOf("canary", rows, { steps: STEPS });
});
