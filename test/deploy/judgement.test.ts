import { describe, expect, it } from "vitest";
import {
  assess,
  beginJudgement,
  judge,
  type Judgement,
  type Reading,
  type Sample,
} from "../../deploy/judgement.ts";

const values = (...each: number[]): Reading => ({ kind: "values", values: each });

describe("assess", () => {
  it.each<[string, Reading, Sample["verdict"]]>([
    ["a value within the limits is good", values(0.5), "good"],
    ["the limit itself is", values(1), "good"],
    ["beyond it is bad", values(1.01), "bad"],
    ["below the least is bad", values(-0.1), "bad"],
    ["infinity is bad", values(Infinity), "bad"],
    ["not a number says nothing", values(NaN), "none"],
    ["an empty result says nothing", values(), "none"],
    ["of several series the worst counts", values(0.1, 2, 0.3), "bad"],
    ["a bad series counts more than a silent one", values(NaN, 2), "bad"],
    ["a silent series counts more than a good one", values(0.1, NaN), "none"],
    ["no answer says nothing", { kind: "unanswered", because: "ETIMEDOUT" }, "none"],
    ["a command that succeeds is good", { kind: "exit", status: 0, said: "" }, "good"],
    ["a command that fails is bad", { kind: "exit", status: 2, said: "" }, "bad"],
    ["a command that was killed is bad", { kind: "exit", status: null, said: "" }, "bad"],
  ])("%s", (_title, reading, verdict) => {
    expect(assess(reading, { max: 1, min: 0 }).verdict).toBe(verdict);
  });

  it("has no limit where none is given", () => {
    expect(assess(values(-5), { max: 1, min: null }).verdict).toBe("good");
    expect(assess(values(5), { max: null, min: 0 }).verdict).toBe("good");
  });

  it("says what was wrong", () => {
    expect(assess(values(2), { max: 1, min: null }).because).toBe("was 2, and 1 is the most");
    const exit = assess({ kind: "exit", status: 3, said: "too slow" }, { max: null, min: null });
    expect(exit.because).toBe("exited with 3; it said: too slow");
  });
});

/** One letter a second: good, bad, none. */
function after(letters: string, needed = 2): Judgement {
  const verdicts = { g: "good", b: "bad", n: "none" } as const;
  let judgement = beginJudgement(100, 0);
  for (const [index, letter] of Array.from(letters).entries()) {
    const verdict = verdicts[letter as keyof typeof verdicts];
    judgement = judge(judgement, { verdict, because: "was odd" }, needed, (index + 1) * 1_000);
  }
  return judgement;
}

describe("judge", () => {
  it.each([
    ["", "waiting", 0, 0],
    ["g", "waiting", 1, 0],
    ["gg", "passing", 2, 2_000],
    ["ggg", "passing", 3, 2_000],
    ["gng", "passing", 2, 3_000],
    ["n", "waiting", 0, 0],
    ["nn", "no-data", 0, 0],
    ["nng", "waiting", 1, 0],
    ["nngg", "passing", 2, 4_000],
    ["ggn", "passing", 2, 2_000],
    ["ggnn", "no-data", 2, 4_000],
    ["ggnng", "passing", 3, 5_000],
    ["gb", "failing", 1, 2_000],
    ["bgggg", "failing", 0, 1_000],
  ])("%j is %s with %i good samples since %i", (letters, state, samples, since) => {
    expect(after(letters)).toMatchObject({ stage: 100, state, samples, since });
  });

  it("says why it fails or what is missing, and nothing when all is well", () => {
    expect(after("gb").reason).toEqual({ code: "ANALYSIS_FAILING", message: "the last sample was odd." });
    expect(after("nn").reason?.code).toBe("ANALYSIS_NO_DATA");
    expect(after("ngg").reason).toBeNull();
  });
});
