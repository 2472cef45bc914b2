import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { beginDeployment } from "../../deploy/begin.ts";
import { isTerminal, PHASES } from "../../deploy/deployment.ts";
import { isEnding, isOver } from "../../deploy/fleet.ts";
import { request } from "./records.ts";
import { longestMs, type Schedule, schedules } from "./scripts.ts";
import { SimulatedFleet } from "./simulated-fleet.ts";

const RUNS = { numRuns: 3_000 };

function play({ script, options, isFirst }: Schedule): SimulatedFleet {
  const asked = request({ options, from: isFirst ? null : 4 });
  return new SimulatedFleet(script, beginDeployment(asked, null, 0)).run();
}

function always(holds: (fleet: SimulatedFleet, schedule: Schedule) => void): void {
  fc.assert(
    fc.property(schedules, (schedule) => {
      holds(play(schedule), schedule);
    }),
    RUNS,
  );
}

describe("a blue-green deploy, whatever happens and whenever the daemon dies", () => {
  it("never does what must not be done: see the simulated fleet", () => {
    always((fleet) => expect(fleet.violations).toEqual([]));
  });

  it("ends, within the sum of its limits", () => {
    always(({ disk }, schedule) => {
      expect(isTerminal(disk)).toBe(true);
      expect(disk.finishedAt).toBeLessThanOrEqual(longestMs(schedule));
    });
  });

  it("says once that it has ended, or not at all if the daemon died of it, and why unless it succeeded", () => {
    always(({ disk, endings }, { script }) => {
      expect(endings).toBeLessThanOrEqual(1);
      if (script.deaths.length === 0) expect(endings).toBe(1);
      if (disk.phase !== "succeeded") expect(disk.reason).not.toBeNull();
    });
  });

  it("leaves all weight with the previous generation, alive, unless it succeeds or that one died by itself", () => {
    always(({ disk, candidate, previous }, { script }) => {
      if (disk.phase === "succeeded" || previous === null || script.previousDies !== null) return;
      expect(previous.weight).toBe(1);
      expect(isEnding(previous.view)).toBe(false);
      expect(candidate?.weight ?? 0).toBe(0);
    });
  });

  it("leaves nothing of the candidate unless it succeeds", () => {
    always(({ disk, candidate }) => {
      if (disk.phase !== "succeeded") expect(candidate === null || isOver(candidate.state)).toBe(true);
    });
  });

  it("leaves all weight with the candidate, and nothing of the previous generation, when it succeeds", () => {
    always(({ disk, candidate, previous }) => {
      if (disk.phase !== "succeeded") return;
      expect(candidate?.weight).toBe(1);
      expect(previous === null || isOver(previous.state)).toBe(true);
    });
  });

  it("calls a deploy failed only if the candidate had no user or nothing is left, and rolled back only if it may have", () => {
    always(({ disk, candidate }) => {
      const phases = disk.phases.map(({ phase }) => phase);
      const hadUsers = phases.includes("baking") || disk.weight > 0;
      if (disk.reason?.code === "DEPLOY_NOTHING_LEFT") {
        if (phases.includes("baking")) expect(candidate?.weight).toBe(1);
      } else if (disk.phase === "failed") expect(hadUsers).toBe(false);
      if (disk.phase === "rolled-back") expect(phases).toContain("rolling-back");
    });
  });

  it("keeps a record without gaps, in which no phase comes twice", () => {
    always(({ disk }) => {
      const { phases } = disk;
      expect(phases[0]?.startedAt).toBe(disk.startedAt);
      for (const [index, record] of phases.entries()) {
        expect(record.finishedAt).toBe(phases[index + 1]?.startedAt ?? disk.finishedAt);
        expect(record.finishedAt).toBeGreaterThanOrEqual(record.startedAt);
      }
      expect(new Set(phases.map(({ phase }) => phase)).size).toBe(phases.length);
      expect(phases.at(-1)?.phase).toBe(disk.phase);
    });
  });

  it("is tried on schedules that reach every phase, and every way in which it can end", () => {
    const seen = new Set<string>();
    for (const schedule of fc.sample(schedules, { numRuns: 10_000, seed: 1 })) {
      const { phases, phase, reason } = play(schedule).disk;
      for (const [index, from] of phases.entries())
        seen.add(`${from.phase} → ${phases[index + 1]?.phase ?? "end"}`);
      if (reason !== null) seen.add(`${reason.code} ${phase}`);
    }
    const moves = Object.entries(PHASES).flatMap(([from, next]) => next.map((to) => `${from} → ${to}`));
    expect(moves.filter((move) => !seen.has(move))).toEqual([]);
    expect([...seen]).toEqual(expect.arrayContaining(ENDS));
  });
});

const ENDS = [
  "DEPLOY_ABORTED aborted",
  "DEPLOY_CANDIDATE_EXITED failed",
  "DEPLOY_CANDIDATE_EXITED rolled-back",
  "DEPLOY_CANDIDATE_FAILED failed",
  "DEPLOY_CANDIDATE_FAILED rolled-back",
  "DEPLOY_CANDIDATE_NOT_READY rolled-back",
  "DEPLOY_NOTHING_LEFT failed",
  "DEPLOY_PREVIOUS_ENDED succeeded",
  "DEPLOY_READY_TIMEOUT failed",
  "DEPLOY_ROLLED_BACK rolled-back",
  "DEPLOY_VERIFY_FAILED failed",
  "DEPLOY_VERIFY_TIMEOUT failed",
];
