import { expect, test } from "vitest";

import type { Service, Status } from "../../admin-api/schemas.ts";
import { age, renderStatus } from "../../cli/render.ts";
import { table } from "../../cli/table.ts";

const NOW = Date.parse("2026-01-02T00:00:00Z");

test("the widest column gives way when a line would be too long", () => {
  const lines = table(
    [{ title: "NAME" }, { title: "N", align: "right" }],
    [
      ["a".repeat(30), "1"],
      ["b", "22"],
    ],
    20,
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
        { ...service, generations: [], deploy: null, pending: ["command", "user"] },
        { ...service, name: "gone", generations: [], deploy: null, leaving: true },
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
