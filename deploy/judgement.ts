/**
 * Verdicts from samples. A sample says good, bad or nothing; a judgement is what a row of them says of a candidate:
 *
 *   waiting ──▶ passing        as many good samples as are needed; a good one in between is not lost
 *      │ ╲         │
 *      │   ▶ no-data           as many in a row that said nothing: silence is no proof, whatever was good before
 *      ▼
 *   failing                    one bad sample; nothing that comes later undoes it
 */
import type { Reason } from "./deployment.ts";
import type { AnalysisView } from "./fleet.ts";

/** What one look brought. */
export type Reading =
  /** A query's result: one value for each series. */
  | { readonly kind: "values"; readonly values: readonly number[] }
  /** A command has ended; null: by a signal. `said`: the end of its output. */
  | { readonly kind: "exit"; readonly status: number | null; readonly said: string }
  /** It could not be asked, or did not answer in time. */
  | { readonly kind: "unanswered"; readonly because: string };

/** What a good value may be at most and at least; null: that side is open. */
export interface Limits {
  readonly max: number | null;
  readonly min: number | null;
}

export interface Sample {
  readonly verdict: "good" | "bad" | "none";
  /** Of a verdict that is not good: the end of "the last sample …". */
  readonly because: string;
}

export interface Judgement extends AnalysisView {
  /** Samples in a row that said nothing. */
  readonly empty: number;
}

const GOOD: Sample = { verdict: "good", because: "" };

/** The worst series counts: one that is beyond a limit is bad, whatever the others say, and one without a number is silence. */
export function assess(reading: Reading, limits: Limits): Sample {
  switch (reading.kind) {
    case "unanswered":
      return { verdict: "none", because: `had no answer: ${reading.because}` };
    case "exit":
      if (reading.status === 0) return GOOD;
      return {
        verdict: "bad",
        because: `exited with ${reading.status ?? "a signal"}${reading.said === "" ? "" : `; it said: ${reading.said}`}`,
      };
    case "values":
      return assessValues(reading.values, limits);
  }
}

function assessValues(values: readonly number[], { max, min }: Limits): Sample {
  if (values.length === 0) return { verdict: "none", because: "was empty: no series matches the query" };
  const high = values.find((value) => max !== null && value > max);
  if (high !== undefined) return { verdict: "bad", because: `was ${high}, and ${max ?? ""} is the most` };
  const low = values.find((value) => min !== null && value < min);
  if (low !== undefined) return { verdict: "bad", because: `was ${low}, and ${min ?? ""} is the least` };
  if (values.some((value) => Number.isNaN(value))) return { verdict: "none", because: "was not a number" };
  return GOOD;
}

/** Of a stage that began at `stage`, before its first sample. */
export function beginJudgement(stage: number, now: number): Judgement {
  return { stage, state: "waiting", samples: 0, since: now, reason: null, empty: 0 };
}

/** With one sample more. `needed`: how many good ones make a verdict, and how many silent ones a silence. */
export function judge(before: Judgement, sample: Sample, needed: number, now: number): Judgement {
  if (before.state === "failing") return before;
  switch (sample.verdict) {
    case "bad":
      return { ...before, state: "failing", since: now, reason: why("ANALYSIS_FAILING", sample) };
    case "none": {
      const empty = before.empty + 1;
      const isSilent = before.state === "no-data" || empty >= needed;
      // One that had come to a verdict is without it from now on; one that had not has been so all along.
      const since = before.state === "passing" && isSilent ? now : before.since;
      const state = isSilent ? "no-data" : before.state;
      return { ...before, state, since, empty, reason: why("ANALYSIS_NO_DATA", sample) };
    }
    case "good": {
      const samples = before.samples + 1;
      const state = samples >= needed ? "passing" : "waiting";
      const since = state === "passing" && before.state !== "passing" ? now : before.since;
      return { ...before, state, samples, since, empty: 0, reason: null };
    }
  }
}

function why(code: string, { because }: Sample): Reason {
  return { code, message: `the last sample ${because}.` };
}
