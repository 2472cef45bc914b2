/** The strategy tests' tables: a record and a world in, one step out, written in one line. */
import { expect, it } from "vitest";
import { blueGreen } from "../../deploy/blue-green.ts";
import type { Deployment, Phase } from "../../deploy/deployment.ts";
import type { CandidateView, Observation } from "../../deploy/fleet.ts";
import { BEGAN, candidate, deploymentIn, OPTIONS, previous } from "./records.ts";

export type Row = readonly [
  title: string,
  phase: Phase,
  record: Partial<Deployment>,
  world: Observation,
  step: string,
];

export function check(rows: readonly Row[]): void {
  it.each(rows)("%s", (_title, phase, record, world, step) => {
    expect(next(deploymentIn(phase, record), world)).toBe(step);
  });
}

function next(deployment: Deployment, observation: Observation): string {
  const step = blueGreen.next(deployment, observation);
  switch (step.do) {
    case "start":
    case "verify":
      return step.do;
    case "weigh":
      return `weigh ${step.candidate}`;
    case "retire":
      return `retire ${step.generation}${step.reason === null ? "" : ` ${step.reason.code}`}`;
    case "enter":
      return `enter ${step.phase}${step.reason === null ? "" : ` ${step.reason.code}`}`;
    case "wait":
      return `wait ${step.until ?? "for a change"}`;
  }
}

export const READY_BY = BEGAN.starting + OPTIONS.readyTimeoutMs;
export const VERIFIED_BY = BEGAN.verifying + OPTIONS.verifyTimeoutMs;
export const BAKED_BY = BEGAN.baking + OPTIONS.bakeMs;

export const BOOTING = candidate({ state: "starting", ready: 1 });
export const GONE = previous({ state: "failed", ready: 0, weight: 0 });
export const STANDBY = previous({ state: "standby", weight: 0 });

/** The candidate with all users, and something wrong with it. */
export function users(overrides: Partial<CandidateView>): CandidateView {
  return candidate({ state: "serving", weight: 1, ...overrides });
}
