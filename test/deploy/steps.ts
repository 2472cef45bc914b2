/** The strategy tests' tables: a record and a world in, one step out, written in one line. */
import { expect, it } from "vitest";
import type { Deployment, DeployOptions, Phase, StrategyName } from "../../deploy/deployment.ts";
import type { CandidateView, Observation } from "../../deploy/fleet.ts";
import { STRATEGIES } from "../../deploy/strategy.ts";
import { BEGAN, candidate, deploymentIn, OPTIONS, previous } from "./records.ts";

export type Row = readonly [
  title: string,
  phase: Phase,
  record: Partial<Deployment>,
  world: Observation,
  step: string,
];

export function check(rows: readonly Row[]): void {
  checkOf("blue-green", rows);
}

/** `options` are those of all rows, where a row has none of its own. */
export function checkOf(
  strategy: StrategyName,
  rows: readonly Row[],
  options: Partial<DeployOptions> = {},
): void {
  it.each(rows)("%s", (_title, phase, record, world, step) => {
    const deployment = deploymentIn(phase, { strategy, options: { ...OPTIONS, ...options }, ...record });
    expect(next(deployment, world)).toBe(step);
  });
}

export function next(deployment: Deployment, observation: Observation): string {
  const step = STRATEGIES[deployment.strategy].next(deployment, observation);
  switch (step.do) {
    case "start":
      return step.instances === OPTIONS.instances ? "start" : `start ${step.instances}`;
    case "verify":
    case "analyse":
      return step.do;
    case "fallBack":
      return `fall back as ${step.number}`;
    case "reach":
      return `reach ${step.step}`;
    case "resize":
      return `resize ${step.generation} ${step.instances}`;
    case "weigh":
      return `weigh ${Number(step.candidate.toFixed(3))}${step.pinned ? " pinned" : ""}`;
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

/** With all users, and what became of the verification that began then. */
export function provedAt(
  verificationSince: number,
  verification: CandidateView["verification"] = "passed",
): CandidateView {
  return users({ verification, verificationSince });
}
