import { expect, test } from "vitest";

import type { Deploy, Service, Status } from "../../admin-api/schemas.ts";
import { age } from "../../cli/duration.ts";
import { renderHistory } from "../../cli/render-history.ts";
import { renderStatus } from "../../cli/render.ts";
import { PLAIN } from "../../cli/look.ts";
import { table } from "../../cli/table.ts";

const NOW = Date.parse("2026-01-02T00:00:00Z");

test("the widest column gives way when a line would be too long", () => {
  const lines = table(
    [{ title: "NAME" }, { title: "N", align: "right" }],
    [
      ["a".repeat(30), "1"],
      ["b", "22"],
    ],
    { ...PLAIN, columns: 20 },
  );
  expect(lines).toEqual([`NAME${" ".repeat(12)}   N`, `${"a".repeat(15)}…   1`, `b${" ".repeat(15)}  22`]);
});

test("what comes from outside cannot steer the terminal", () => {
  expect(table([{ title: "NAME" }], [["a\u001b[2Jb\nc\u009bd"]])).toEqual(["NAME", "a [2Jb c d"]);
});

test("what leaves and what waits for a deploy is said", () => {
  const service = { name: "api", state: "running", current: null, candidate: null, previous: null } as const;
  const slot = { index: 0, generation: null, weight: 1, queue: { length: 0, limit: 1 } };
  const text = renderStatus(
    {
      version: "1",
      pid: 1,
      startedAt: "2025-01-01T00:00:00Z",
      upgrades: 0,
      listeners: [
        { name: "old", protocol: "tcp", address: "[::1]:1", mode: "steered", slots: [slot], leaving: true },
      ],
      services: [
        { ...service, generations: [], deploy: null, held: null, pending: ["command", "user"] },
        { ...service, name: "gone", generations: [], deploy: null, held: null, leaving: true },
      ],
    },
    NOW,
  );
  expect(text).toContain("old (leaving)");
  expect(text).toContain("with the next deploy: command, user");
  expect(text).toContain("gone is being removed");
});

test("the largest names still fit 80 columns", () => {
  const name = "n".repeat(128);
  const service: Service = {
    name,
    state: "running",
    current: 10_000,
    candidate: null,
    previous: null,
    generations: [
      {
        number: 10_000,
        version: name,
        state: "serving",
        weight: 0.333,
        connections: 1_000_000,
        draining: {
          since: "2025-01-01T00:00:00Z",
          deadline: "2027-01-01T00:00:00Z",
          connections: 1_000_000,
        },
        startedAt: "2025-01-01T00:00:00Z",
        instances: Array.from({ length: 100 }, (_, id) => ({
          id,
          pid: id,
          state: "serving" as const,
          restarts: 0,
        })),
      },
    ],
    deploy: null,
    held: null,
  };
  const status: Status = {
    version: "0.1.0",
    pid: 4_000_000,
    startedAt: "2025-01-01T00:00:00Z",
    upgrades: 12,
    listeners: [
      {
        name,
        protocol: "unix",
        address: `/${"d".repeat(100)}`,
        mode: "renamed",
        slots: [
          { index: 100, generation: `${name}/10000`, weight: 0.5, queue: { length: 4096, limit: 4096 } },
        ],
      },
    ],
    services: [service],
  };
  for (const line of renderStatus(status, NOW).split("\n")) {
    if (!line.includes(" is running")) expect(line.length, line).toBeLessThanOrEqual(80);
  }
});

test.each([
  ["2026-01-01T23:59:48Z", "12 s"],
  ["2026-01-01T23:58:30Z", "1 min"],
  ["2026-01-01T20:50:00Z", "3 h 10 min"],
  ["2025-12-30T20:00:00Z", "2 d 4 h"],
  ["2026-01-03T00:00:00Z", "0 s"],
])("the age of %s is %s", (since, text) => {
  expect(age(since, NOW)).toBe(text);
});

test("a deploy of the history shows how long its phases took, its connections and its reason", () => {
  const at = (seconds: number) => new Date(NOW + seconds * 1000).toISOString();
  const deploy: Deploy = {
    id: "api-4",
    service: "api",
    strategy: "blue-green",
    from: 3,
    to: 4,
    version: "42",
    phase: "succeeded",
    weight: 1,
    step: null,
    touched: null,
    pinned: false,
    paused: false,
    requestedBy: "root (uid 0)",
    startedAt: at(0),
    finishedAt: at(100),
    reason: { code: "X", message: "A reason." },
    phases: [
      { phase: "starting", startedAt: at(0), finishedAt: at(1.234) },
      { phase: "verifying", startedAt: at(1.234), finishedAt: at(1.25) },
      { phase: "baking", startedAt: at(1.25), finishedAt: at(91.25) },
      { phase: "succeeded", startedAt: at(100), finishedAt: at(100) },
    ],
    evidence: {
      candidate: { generation: 4, atShift: 0, peak: 7, atEnd: null, cut: null, endedBy: null },
      previous: { generation: 3, atShift: 12, peak: 15, atEnd: 9, moved: 4, cut: 2, endedBy: "uid 7" },
    },
  };
  expect(renderHistory([deploy], NOW + 3_600_000).split("\n")).toEqual([
    "DEPLOY  SERVICE  VERSION  GENERATION  RESULT           AGO   TOOK  BY",
    "api-4   api      42       3 -> 4      succeeded  1 h 0 min  1 min  root (uid 0)",
    "",
    "api-4: starting 1.2 s, verifying 16 ms, baking 1 min",
    "api-4: connections of generation 3: 12 when traffic moved, 15 at most",
    "api-4:   9 when told to end, 4 moved, 2 cut, ended by uid 7",
    "api-4: connections of generation 4: 0 when traffic moved, 7 at most",
    "api-4: A reason.",
  ]);
});
