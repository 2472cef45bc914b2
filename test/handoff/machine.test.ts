import { describe, expect, it } from "vitest";
import { Machine, type TransitionTable } from "../../handoff/machine.ts";

const LAMP: TransitionTable<"off" | "on" | "broken", "press" | "touch" | "drop"> = {
  off: { press: "on", drop: "broken" },
  on: { press: "off", touch: "on", drop: "broken" },
  broken: {},
};

describe("Machine", () => {
  it("goes where the table says and remembers when the state began", () => {
    const lamp = new Machine(LAMP, "off", 10);
    expect(lamp.fire("press", 20)).toBe(true);
    expect([lamp.state, lamp.since]).toEqual(["on", 20]);
  });

  it("answers false to an event that the state does not know, and nothing changes", () => {
    const lamp = new Machine(LAMP, "off", 10);
    expect(lamp.fire("touch", 20)).toBe(false);
    expect([lamp.state, lamp.since]).toEqual(["off", 10]);
  });

  it("keeps the instant at which a state began when an event leads back to it", () => {
    const lamp = new Machine(LAMP, "on", 10);
    expect(lamp.fire("touch", 20)).toBe(true);
    expect([lamp.state, lamp.since]).toEqual(["on", 10]);
  });

  it("stays where it is once the state knows no event", () => {
    const lamp = new Machine(LAMP, "off", 10);
    lamp.fire("drop", 11);
    for (const event of ["press", "touch", "drop"] as const) expect(lamp.fire(event, 12)).toBe(false);
    expect([lamp.state, lamp.since]).toEqual(["broken", 11]);
  });
});
