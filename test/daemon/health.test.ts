import { expect, test } from "vitest";

import { healthOf } from "../../daemon/health.ts";

test("a service that has lost instances is ready as long as its floor is held", () => {
  const degraded = (ready: number, floor: number) =>
    healthOf([{ name: "api", state: "degraded", ready, floor }], false);
  expect(degraded(2, 2)).toEqual({ ready: true, reasons: [] });
  expect(degraded(1, 2)).toEqual({
    ready: false,
    reasons: ["service api is degraded: 1 instances are ready, 2 are its floor"],
  });
});

test.each(["starting", "held", "stopped"] as const)(
  "a service that is %s is a reason not to be ready",
  (state) => {
    const ok = { name: "web", state: "running", ready: 1, floor: 1 } as const;
    expect(healthOf([ok, { name: "api", state, ready: 3, floor: 1 }], false).reasons).toEqual([
      `service api is ${state}`,
    ]);
    expect(healthOf([ok], true).reasons).toEqual(["the daemon is stopping"]);
    expect(healthOf([ok], false).ready).toBe(true);
  },
);
