import { describe } from "vitest";
import { candidate, seen, seenWithUsers } from "./records.ts";
import { BAKED_BY, check, STANDBY, users } from "./steps.ts";

describe("a deploy that goes on after the daemon's death", () => {
  check([
    ["verifies again", "verifying", {}, seen({ candidate: candidate({ verification: "none" }) }), "verify"],
    ["does not verify a candidate that has passed the gate", "shifting", {}, seen(), "weigh 1"],
    ["gives the recorded weight that the kernel was not told", "shifting", { weight: 1 }, seen(), "weigh 1"],
    ["gives it again while baking", "baking", {}, seen(), "weigh 1"],
    [
      "leaves a rounding of the kernel's alone",
      "baking",
      {},
      seenWithUsers({ candidate: users({ weight: 0.9999 }) }),
      `wait ${BAKED_BY}`,
    ],
    ["takes the weight before it drains", "draining", {}, seen(), "weigh 1"],
    [
      "leaves the weights alone when the next deploy has moved them on",
      "draining",
      {},
      seen({ candidate: candidate({ weight: 0 }), previous: STANDBY }),
      "retire previous",
    ],
  ]);
});
