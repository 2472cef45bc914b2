import { describe, expect, it } from "vitest";
import type { Deployment } from "../../deploy/deployment.ts";
import type { Fleet, Observation } from "../../deploy/fleet.ts";
import { Runner } from "../../deploy/runner.ts";
import { candidate, deploymentIn, previous, seen, seenWithUsers } from "./records.ts";

/** Writes down what it is told to do, and shows the world that it is given. */
class NotingFleet implements Fleet {
  readonly notes: string[] = [];
  world: Observation;
  onNote: (note: string) => void = () => undefined;

  constructor(world: Observation) {
    this.world = world;
  }

  observe(): Observation {
    return this.world;
  }

  record({ phase, weight, wish }: Deployment): void {
    this.#note(`record ${phase} ${weight}${wish === null ? "" : ` ${wish}`}`);
  }

  start(): void {
    this.world = { ...this.world, candidate: candidate({ state: "starting", ready: 0 }) };
    this.#note("start");
  }

  verify(): void {
    this.world = { ...this.world, candidate: candidate({ verification: "running" }) };
    this.#note("verify");
  }

  weigh(_deployment: Deployment, share: number): void {
    this.world = {
      ...this.world,
      candidate: candidate({ weight: share }),
      previous: previous({ weight: 1 - share }),
    };
    this.#note(`weigh ${share}`);
  }

  retire(_deployment: Deployment, generation: "candidate" | "previous"): void {
    const ended = { state: "stopped", weight: 0 } as const;
    this.world =
      generation === "candidate"
        ? { ...this.world, candidate: candidate(ended) }
        : { ...this.world, previous: previous(ended) };
    this.#note(`retire ${generation}`);
  }

  wake(_deployment: Deployment, at: number | null): void {
    this.#note(`wake ${at ?? "never"}`);
  }

  #note(note: string): void {
    this.notes.push(note);
    this.onNote(note);
  }
}

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
    expect(runner.deployment).toMatchObject({ phase: "succeeded", paused: false });
  });
});
