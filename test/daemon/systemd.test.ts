import { describe, expect, it, test } from "vitest";
import type { Status } from "../../admin-api/schemas.ts";
import { isRestart, statusLine, unitOf } from "../../daemon/systemd.ts";

test.each([
  ["0::/system.slice/handoffd.service\n", "handoffd.service"],
  ["0::/system.slice/handoffd.service/daemon\n", "handoffd.service"],
  ["0::/user.slice/user-1.slice/user@1.service/app.slice/hd.service\n", "hd.service"],
  ["9:name=systemd:/system.slice/hd.service\n8:pids:/x\n0::/\n", "hd.service"],
  ["0::/user.slice/user-0.slice/session-1.scope\n", null],
  ["0::/\n", null],
])("the unit of %j is %s", (cgroups, unit) => {
  expect(unitOf(cgroups)).toBe(unit);
});

test.each([
  [" 88 handoffd.service restart running\n", true],
  ["  1 other.service restart waiting\n 88 handoffd.service start waiting\n", true],
  [" 88 handoffd.service stop running\n", false],
  [" 88 other.service restart running\n", false],
  ["No jobs running.\n", false],
])("the jobs %j are a restart: %s", (jobs, expected) => {
  expect(isRestart(jobs, "handoffd.service")).toBe(expected);
});

describe("the status line", () => {
  it("says what runs, in which version, and what is under way", () => {
    const service = { name: "api", state: "running", current: 3, candidate: 4, previous: null };
    const generations = [{ number: 3, version: "41" }];
    const status = {
      listeners: [{}, {}],
      services: [{ ...service, generations, deploy: { phase: "verifying" } }],
    };
    expect(statusLine(status as unknown as Status)).toBe(
      "api running generation 3, version 41, deploy verifying; 2 listeners",
    );
  });

  it("is not empty where nothing is configured", () => {
    expect(statusLine({ services: [], listeners: [] })).toBe("no services; 0 listeners");
  });
});
