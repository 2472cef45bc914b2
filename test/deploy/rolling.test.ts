import { describe, expect, it } from "vitest";
import { candidate, deploymentIn, OPTIONS, previous, seen } from "./records.ts";
import { checkOf, GONE, next, type Row } from "./steps.ts";

const FOUR = { instances: 4, previousInstances: 4 };
const AT = 3_000;
const RESIZED = { resizedAt: AT };
const LIMIT = AT + OPTIONS.readyTimeoutMs;

/** So many instances of each, all ready, and the weight that belongs to it. */
function world(ofCandidate: number, ofPrevious: number, overrides: Parameters<typeof seen>[0] = {}) {
  const weight = ofCandidate / (ofCandidate + ofPrevious);
  return seen({
    candidate: candidate({ state: "serving", weight, ready: ofCandidate, wanted: ofCandidate }),
    previous: previous({ weight: 1 - weight, ready: ofPrevious, wanted: ofPrevious }),
    ...overrides,
  });
}
const weighed = (ofCandidate: number, ofPrevious: number) => ({
  ...RESIZED,
  weight: ofCandidate / (ofCandidate + ofPrevious),
});

describe("a rolling deploy", () => {
  const one = candidate({ ready: 1, wanted: 1 });
  const growing = candidate({ state: "serving", weight: 0.25, ready: 1, wanted: 2 });
  const rows: readonly Row[] = [
    ["starts with one instance", "starting", {}, seen({ candidate: null }), "start 1"],
    ["proves it", "verifying", {}, seen({ candidate: one }), "verify"],
    ["gives it its share", "shifting", {}, world(1, 4, { candidate: one }), "weigh 0.2"],
    [
      "can be held at the gate",
      "shifting",
      { paused: true },
      world(1, 4, { candidate: one }),
      "wait for a change",
    ],
    ["takes one of the previous generation", "shifting", weighed(1, 4), world(1, 4), "resize previous 3"],
    ["lets the weight follow", "shifting", weighed(1, 4), world(1, 3), "weigh 0.25"],
    [
      "waits until that one has ended",
      "shifting",
      weighed(1, 3),
      world(1, 3, { previous: previous({ weight: 0.75, ready: 3, wanted: 3, leaving: 1 }) }),
      "wait for a change",
    ],
    ["adds one then", "shifting", weighed(1, 3), world(1, 3), "resize candidate 2"],
    ["gives it its time", "shifting", weighed(1, 3), world(1, 3, { candidate: growing }), `wait ${LIMIT}`],
    [
      "but not more",
      "shifting",
      weighed(1, 3),
      world(1, 3, { candidate: growing, now: LIMIT }),
      "enter rolling-back DEPLOY_READY_TIMEOUT",
    ],
    [
      "follows what is ready now, whatever was recorded before a crash",
      "shifting",
      { ...RESIZED, weight: 1 },
      world(1, 1, { candidate: candidate({ weight: 0.8, ready: 3, wanted: 4 }) }),
      "weigh 0.75",
    ],
    ["goes on one by one", "shifting", weighed(2, 3), world(2, 3), "resize previous 2"],
    ["holds where it is", "shifting", { ...weighed(2, 2), paused: true }, world(2, 2), "wait for a change"],
    ["keeps the last", "shifting", weighed(3, 1), world(3, 1), "resize candidate 4"],
    ["gives all when the candidate is whole", "shifting", weighed(4, 1), world(4, 1), "weigh 1"],
    [
      "bakes with the last one warm",
      "shifting",
      { weight: 1 },
      world(4, 1, { candidate: candidate({ weight: 1, ready: 4, wanted: 4 }) }),
      "enter baking",
    ],
    [
      "takes one that is not ready before one that is",
      "shifting",
      { ...weighed(1, 0), weight: 1 },
      world(1, 3, {
        candidate: candidate({ weight: 1, ready: 1, wanted: 1 }),
        previous: previous({ weight: 0, ready: 0, wanted: 4 }),
      }),
      "resize previous 3",
    ],
  ];
  checkOf("rolling", rows, FOUR);

  it("leaves nobody on instances that are not there", () => {
    const deployment = deploymentIn("shifting", {
      strategy: "rolling",
      options: { ...OPTIONS, ...FOUR },
      ...weighed(1, 4),
    });
    const away = world(1, 4, { previous: previous({ weight: 0.8, ready: 0, wanted: 4 }) });
    expect(next(deployment, away)).toBe("weigh 1");
  });
});

describe("a rolling deploy with a floor", () => {
  const rows: readonly Row[] = [
    [
      "does not shrink the previous generation below it",
      "shifting",
      weighed(2, 3),
      world(2, 3),
      "resize candidate 3",
    ],
    ["gives all to the whole candidate", "shifting", weighed(4, 3), world(4, 3), "weigh 1"],
    [
      "adds one of the candidate where too few of the others are ready",
      "shifting",
      { ...RESIZED, weight: 0.5 },
      world(1, 1, { previous: previous({ weight: 0.5, ready: 1, wanted: 4 }) }),
      "resize candidate 2",
    ],
  ];
  checkOf("rolling", rows, { ...FOUR, floor: 3 });
});

describe("a rolling deploy to a smaller and to a larger generation", () => {
  checkOf(
    "rolling",
    [
      ["shrinks the previous one to the last", "shifting", weighed(2, 3), world(2, 3), "resize previous 2"],
      ["and then is whole", "shifting", weighed(2, 1), world(2, 1), "weigh 1"],
    ],
    { instances: 2, previousInstances: 4 },
  );
  checkOf(
    "rolling",
    [
      ["grows beyond it", "shifting", weighed(3, 1), world(3, 1), "resize candidate 4"],
      ["from a single one, too", "shifting", weighed(1, 1), world(1, 1), "resize candidate 2"],
    ],
    { instances: 4, previousInstances: 1 },
  );
});

describe("a rolling deploy that goes back", () => {
  const back = { ...RESIZED, weight: 0 };
  const of = (ready: number, wanted: number) => previous({ ready, wanted });
  const two = candidate({ ready: 2, wanted: 2 });
  const rows: readonly Row[] = [
    ["takes the weight first", "rolling-back", weighed(2, 2), world(2, 2), "weigh 0"],
    [
      "gives the previous generation its instances",
      "rolling-back",
      back,
      seen({ candidate: two, previous: of(2, 2) }),
      "resize previous 4",
    ],
    [
      "waits until they are ready",
      "rolling-back",
      back,
      seen({ candidate: two, previous: of(3, 4) }),
      `wait ${LIMIT}`,
    ],
    [
      "ends its candidate then",
      "rolling-back",
      back,
      seen({ candidate: two, previous: of(4, 4) }),
      "retire candidate",
    ],
    [
      "does not wait for ever",
      "rolling-back",
      back,
      seen({ now: LIMIT, candidate: two, previous: of(3, 4) }),
      "retire candidate",
    ],
    [
      "does not wait for a candidate that has failed",
      "rolling-back",
      back,
      seen({ candidate: { ...two, state: "failed" }, previous: of(3, 4) }),
      "enter rolled-back",
    ],
    [
      "leaves the number to a deploy that has begun since",
      "rolling-back",
      back,
      seen({ candidate: two, previous: of(2, 2), isLatest: false }),
      "retire candidate",
    ],
    [
      "has nothing to give back to a generation that is gone",
      "rolling-back",
      back,
      seen({ candidate: two, previous: GONE }),
      "retire candidate",
    ],
  ];
  checkOf("rolling", rows, FOUR);
});

describe("a rolling deploy in a hurry", () => {
  const rows: readonly Row[] = [
    [
      "is whole at once when it is promoted",
      "shifting",
      { ...weighed(1, 3), wish: "promote" },
      world(1, 3),
      "resize candidate 4",
    ],
    ["gives all when it is whole", "shifting", { ...weighed(4, 3), wish: "promote" }, world(4, 3), "weigh 1"],
    [
      "takes all when there is no one else",
      "shifting",
      weighed(1, 3),
      world(1, 3, { previous: { ...GONE, weight: 0.75 } }),
      "weigh 1",
    ],
    [
      "and is whole then",
      "shifting",
      { weight: 1 },
      world(1, 3, { candidate: candidate({ weight: 1, ready: 1, wanted: 1 }), previous: GONE }),
      "resize candidate 4",
    ],
  ];
  checkOf("rolling", rows, FOUR);
});

describe("a rolling first start", () => {
  checkOf("rolling", [
    ["is of all instances", "starting", { from: null }, seen({ candidate: null, previous: null }), "start"],
    ["takes all weight", "shifting", { from: null }, seen({ previous: null }), "weigh 1"],
  ]);
});
