import { describe, expect, test } from "vitest";

import { endingSince, momentOf } from "../../../cli/verify/attribution.ts";
import { replacement, second } from "./observations.ts";

const deploys = [replacement(2, 0), replacement(3, 10)];
const at = (seconds: number, opened: number) => momentOf(second(seconds), second(opened), deploys);

test.each([
  ["before the first deploy", -1, -2, { deploy: null, phase: null, side: null, isEnding: false }],
  ["while the candidate starts", 0.5, -1, { deploy: 1, phase: "starting", side: "old", isEnding: false }],
  ["on a connection of the shift", 2.7, 2.5, { deploy: 1, phase: "shifting", side: null, isEnding: false }],
  ["of the old one's drain", 5, 1, { deploy: 1, phase: "draining", side: "old", isEnding: true }],
  ["of the new one in the drain", 5, 4.5, { deploy: 1, phase: "draining", side: "new", isEnding: true }],
  ["heard of when the drain is over", 8.5, 1, { deploy: 1, phase: "draining", side: "old", isEnding: true }],
  ["between two deploys", 9.5, 9, { deploy: 1, phase: null, side: "new", isEnding: false }],
  ["of the second deploy", 15, 9, { deploy: 2, phase: "draining", side: "old", isEnding: true }],
] as const)("a loss %s is placed there", (_title, seconds, opened, expected) => {
  expect(at(seconds, opened)).toEqual(expected);
});

describe("the generation that is replaced is told to end", () => {
  test("from the drain on", () => {
    expect(endingSince(replacement(2, 0))).toBe(second(4));
    expect(endingSince(replacement(2, 0, { strategy: "canary" }))).toBe(second(4));
  });

  test("instance by instance, where the strategy is rolling", () => {
    expect(endingSince(replacement(2, 0, { strategy: "rolling" }))).toBe(second(2));
  });

  test("first of all, where no two generations may run", () => {
    expect(endingSince(replacement(2, 0, { strategy: "recreate" }))).toBe(second(0));
  });
});
