import { describe, expect, it } from "vitest";
import type { Deployment } from "../../deploy/deployment.ts";
import { Runner } from "../../deploy/runner.ts";
import { NotingFleet } from "./noting-fleet.ts";
import { candidate, deploymentIn, OPTIONS, previous, seen, seenWithUsers } from "./records.ts";
import { provedAt } from "./steps.ts";

describe("Runner.advance", () => {
  it("writes the record before each act, with what is about to be true", () => {
    const fleet = new NotingFleet(seen({ candidate: null }));
    new Runner(fleet, deploymentIn("starting")).advance();
    expect(fleet.notes).toEqual(["record starting 0", "start", "wake 10000"]);
  });

  it("takes every step that can be taken now", () => {
    const fleet = new NotingFleet(seen({ candidate: candidate({ verification: "passed" }) }));
    new Runner(fleet, deploymentIn("verifying")).advance();
    expect(fleet.notes).toEqual([
      "record shifting 0",
      "record shifting 1",
      "weigh 1",
      "record baking 1",
      `wake ${3_500 + 60_000}`,
    ]);
  });

  it("writes nothing and asks for nothing when the deploy has ended", () => {
    const fleet = new NotingFleet(seenWithUsers());
    const ended: Deployment[] = [];
    new Runner(fleet, deploymentIn("succeeded"), (deployment) => ended.push(deployment)).advance();
    expect([fleet.notes, ended]).toEqual([["wake never"], []]);
  });

  it("says once that the deploy has ended, after the record of it is written", () => {
    const fleet = new NotingFleet(seenWithUsers());
    const runner = new Runner(fleet, deploymentIn("draining"), ({ phase }) =>
      fleet.notes.push(`ended ${phase}`),
    );
    runner.advance();
    runner.advance();
    expect(fleet.notes).toEqual([
      "record draining 1",
      "retire previous",
      "record succeeded 1",
      "wake never",
      "ended succeeded",
      "wake never",
    ]);
  });

  it("goes round again, and not deeper, when an act calls it", () => {
    const fleet = new NotingFleet(seen());
    const runner = new Runner(fleet, deploymentIn("starting"));
    let depth = 0;
    fleet.onNote = (note) => {
      expect(++depth).toBe(1);
      if (note.startsWith("verify")) runner.advance();
      depth--;
    };
    runner.advance();
    expect(fleet.notes.filter((note) => note === "verify")).toHaveLength(1);
  });

  it("looks again when the world changes while it asks to be woken", () => {
    const fleet = new NotingFleet(seen({ candidate: candidate({ verification: "running" }) }));
    const runner = new Runner(fleet, deploymentIn("verifying"));
    fleet.onNote = (note) => {
      if (note !== "wake 6000") return;
      fleet.world = seen({ candidate: candidate({ verification: "failed" }) });
      runner.advance();
    };
    runner.advance();
    expect(runner.deployment.phase).toBe("failed");
  });

  it("takes it for a bug when there is no end to the steps, and can be called again", () => {
    const fleet = new NotingFleet(seen());
    const runner = new Runner(fleet, deploymentIn("shifting"));
    fleet.onNote = () => (fleet.world = seen());
    expect(() => runner.advance()).toThrow("64 steps in shifting without a wait");
    fleet.onNote = () => undefined;
    runner.advance();
    expect(runner.deployment.phase).toBe("baking");
  });

  it("does nothing that it could not write down", () => {
    const fleet = new NotingFleet(seen());
    const runner = new Runner(fleet, deploymentIn("shifting"));
    fleet.onNote = () => {
      throw new Error("no space left");
    };
    expect(() => runner.advance()).toThrow("no space left");
    expect(fleet.notes).toEqual(["record shifting 1"]);
    expect(runner.deployment).toEqual(deploymentIn("shifting"));
  });
});

describe("Runner.request", () => {
  it("has given the weights back when it returns from a rollback", () => {
    const fleet = new NotingFleet(seenWithUsers());
    new Runner(fleet, deploymentIn("baking")).request("rollback");
    expect(fleet.notes.slice(0, 4)).toEqual([
      "record baking 1 rollback",
      "record rolling-back 1 rollback",
      "record rolling-back 0 rollback",
      "weigh 0",
    ]);
    expect(fleet.world.previous?.weight).toBe(1);
  });

  it("ends the bake at once when it is promoted", () => {
    const fleet = new NotingFleet(seenWithUsers());
    const runner = new Runner(fleet, deploymentIn("baking"));
    runner.request("promote");
    expect(runner.deployment.phase).toBe("succeeded");
  });

  it("changes and writes nothing when it refuses", () => {
    const fleet = new NotingFleet(seen());
    const runner = new Runner(fleet, deploymentIn("verifying"));
    expect(() => runner.request("rollback")).toThrow("abort it");
    expect([fleet.notes, runner.deployment]).toEqual([[], deploymentIn("verifying")]);
  });

  it("is a bug from within an act, where it could not be done before it returns", () => {
    const fleet = new NotingFleet(seen());
    const runner = new Runner(fleet, deploymentIn("verifying"));
    fleet.onNote = (note) => {
      if (note === "verify") runner.request("abort");
    };
    expect(() => runner.advance()).toThrow("by its own act");
  });
});

describe("Runner.pause and continue", () => {
  it("hold the bake and let it end", () => {
    const fleet = new NotingFleet(seenWithUsers());
    const runner = new Runner(fleet, deploymentIn("baking"));
    runner.pause();
    fleet.world = seenWithUsers({ now: 100_000 });
    runner.advance();
    expect(runner.deployment).toMatchObject({ phase: "baking", paused: true });
    runner.continue();
    expect(fleet.notes.at(-2)).toBe("verify");
    fleet.world = seenWithUsers({ now: 100_000, candidate: provedAt(100_000) });
    runner.advance();
    expect(runner.deployment).toMatchObject({ phase: "succeeded", paused: false });
  });
});

describe("Runner, of the acts that not all strategies need", () => {
  const steps = [{ weight: 0.25, forMs: 1_000, pause: true }];
  const analysis = { samples: 1, noData: "wait", deadlineMs: 5_000 } as const;

  it("writes a canary's step down before its weight is given, and is held there", () => {
    const fleet = new NotingFleet(seen());
    const options = { ...OPTIONS, steps, analysis };
    const runner = new Runner(fleet, deploymentIn("shifting", { strategy: "canary", options }));
    runner.advance();
    expect(fleet.notes).toEqual([
      "record shifting 0.25",
      "record shifting 0.25",
      "weigh 0.25",
      "record shifting 0.25",
      "analyse 3500",
      `wake ${3_500 + analysis.deadlineMs}`,
    ]);
    expect(runner.deployment).toMatchObject({ paused: true, step: { index: 0, since: 3_500 } });
  });

  it("writes down when a number of instances was changed before it is", () => {
    const fleet = new NotingFleet(seen({ candidate: candidate({ ready: 1, wanted: 1, weight: 1 / 3 }) }));
    const rolling = deploymentIn("shifting", { strategy: "rolling", weight: 1 / 3 });
    const runner = new Runner(fleet, rolling);
    fleet.onNote = (note) => {
      if (note.startsWith("resize previous")) expect(runner.deployment.resizedAt).toBe(3_500);
    };
    runner.advance();
    expect(fleet.notes[1]).toBe("resize previous 1 at 3500");
  });

  it("writes down the number of the generation that falls back before there is one", () => {
    const over = { state: "stopped", ready: 0, weight: 0 } as const;
    const fleet = new NotingFleet(seen({ candidate: candidate(over), previous: previous(over) }));
    const runner = new Runner(fleet, deploymentIn("rolling-back", { strategy: "recreate", weight: 1 }));
    runner.advance();
    expect(fleet.notes).toEqual(["record rolling-back 1", "fall back as 6", `wake ${3_500 + 10_000}`]);
    expect(runner.deployment).toMatchObject({ fallback: 6, resizedAt: 3_500 });
  });
});
