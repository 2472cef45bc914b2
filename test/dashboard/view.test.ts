import { describe, expect, test } from "vitest";

import { deployOf, lanesOf, phasesOf, remainingOf } from "../../admin-api/dashboard/lanes.ts";
import { deployVerbs, serviceVerbs, withheld } from "../../admin-api/dashboard/rights.ts";
import {
  openColumns,
  type Sample,
  sampled,
  spanOf,
  waitingColumns,
  WINDOW_MS,
} from "../../admin-api/dashboard/samples.ts";
import { age, countdown, duration, percent } from "../../admin-api/dashboard/words.ts";
import type { Deploy, Phase } from "../../admin-api/schemas.ts";
import { at, caller, deploy, generation, NOW, service, status } from "./scenes.ts";

describe("lanes", () => {
  const lanes = lanesOf(service(), status().listeners, NOW);

  test("stand in the order in which they matter, with a role each", () => {
    expect(lanes.map(({ number, role }) => [number, role])).toEqual([
      [3, "current"],
      [4, "candidate"],
      [2, "draining"],
    ]);
  });

  test("two that share traffic never have the same colour, and what drains has none", () => {
    expect(lanes.map(({ hue }) => hue)).toEqual(["green", "blue", "grey"]);
    for (let number = 1; number < 20; number += 1) {
      const pair = {
        current: number,
        candidate: number + 1,
        generations: [generation(number), generation(number + 1)],
      };
      const [one, other] = lanesOf(service(pair), [], NOW);
      expect(one?.hue).not.toBe(other?.hue);
    }
  });

  test("have the queues of their own slots, and nobody else's", () => {
    expect(lanes.map(({ queue }) => queue.length)).toEqual([2, 1, 0]);
  });

  test("say how long a drain may last", () => {
    expect(lanes.map(({ remark }) => remark)).toEqual(["up 1 min 40 s", "up 1 min 40 s", "ends within 0:25"]);
  });
});

describe("a deploy", () => {
  test("has phases behind it, one that lasts, and those that are still to come", () => {
    expect(phasesOf(deploy(), NOW)).toEqual([
      { phase: "starting", progress: "done", ms: 2_000 },
      { phase: "verifying", progress: "done", ms: 1_000 },
      { phase: "shifting", progress: "now", ms: 17_000 },
      { phase: "baking", progress: "next", ms: null },
      { phase: "draining", progress: "next", ms: null },
      { phase: "succeeded", progress: "next", ms: null },
    ]);
  });

  test("that failed ends there, and one that goes back is not shown a way on", () => {
    const ended = (phase: Phase): Partial<Deploy> => ({
      phase,
      finishedAt: at(-1),
      phases: [
        { phase: "starting", startedAt: at(-20), finishedAt: at(-1) },
        { phase, startedAt: at(-1), finishedAt: at(-1) },
      ],
    });
    expect(phasesOf(deploy(ended("failed")), NOW).map(({ progress }) => progress)).toEqual([
      "done",
      "failed",
    ]);
    expect(phasesOf(deploy(ended("succeeded")), NOW).map(({ progress }) => progress)).toEqual([
      "done",
      "done",
    ]);
    const phases = [{ phase: "rolling-back", startedAt: at(-1), finishedAt: null } as const];
    expect(phasesOf(deploy({ phase: "rolling-back", phases }), NOW).map(({ phase }) => phase)).toEqual([
      "rolling-back",
      "rolled-back",
    ]);
  });

  test("counts down to the end of its step or its bake, and to nothing when it is paused", () => {
    expect(remainingOf(deploy(), NOW)).toEqual({ ms: 45_000, fraction: 0.25, then: "until the next step" });
    const last = { index: 1, of: 2, since: at(-15), continuedAt: null };
    expect(remainingOf(deploy({ step: last }), NOW)?.then).toBe("until everyone is moved");
    const { until: _until, ...paused } = deploy({ paused: true });
    expect(remainingOf(paused, NOW)).toBeNull();
    expect(remainingOf(deploy(), NOW + 90_000)).toMatchObject({ ms: 0, fraction: 1 });
  });

  test("is the one under way, or else the last that is known of the service", () => {
    const old = deploy({ id: "api-3", finishedAt: at(-50) });
    const other = deploy({ id: "web-9", service: "web" });
    expect(deployOf(service(), [old])?.id).toBe("api-4");
    expect(deployOf(service({ deploy: null }), [other, old])?.id).toBe("api-3");
    expect(deployOf(service({ deploy: null }), [other])).toBeNull();
  });
});

describe("what is offered", () => {
  test.each([
    ["starting", false, ["pause", "abort"]],
    ["verifying", true, ["continue", "abort"]],
    ["shifting", false, ["promote", "pause", "abort"]],
    ["baking", false, ["promote", "pause", "rollback"]],
    ["baking", true, ["promote", "continue", "rollback"]],
    ["draining", false, []],
    ["rolling-back", false, []],
    ["failed", false, []],
  ] as const)("of a deploy that is %s (paused: %s): %j", (phase, paused, verbs) => {
    expect(deployVerbs(deploy({ phase, paused }))).toEqual(verbs);
  });

  test("of a service depends on what is being done to it", () => {
    const held = { since: at(0), requestedBy: "ada", idles: false, waiting: 3 };
    expect(serviceVerbs(service())).toEqual([]);
    expect(serviceVerbs(service({ deploy: null }))).toEqual([
      "deploy",
      "rollback",
      "restart",
      "scale",
      "hold",
    ]);
    expect(serviceVerbs(service({ deploy: null, held }))).toEqual(["resume"]);
    expect(serviceVerbs(service({ deploy: null, current: null }))).toEqual(["deploy"]);
    expect(serviceVerbs(service({ deploy: null, leaving: true }))).toEqual([]);
  });

  test("is nothing to those who may not, with the reason", () => {
    expect(withheld(caller(), "api")).toBeNull();
    expect(withheld(caller({ role: "admin" }), "api")).toBeNull();
    expect(withheld(caller({ services: ["api"] }), "api")).toBeNull();
    expect(withheld(caller({ services: ["web", "mail"] }), "api")).toBe(
      "You may look: ada may change web, mail only.",
    );
    expect(withheld(caller({ role: "read" }), "api")).toBe(
      "You may look: ada has the role read, and changes need deploy.",
    );
    expect(withheld(caller({ name: "anonymous", role: "read" }), "api")).toContain("sign in");
  });
});

describe("samples", () => {
  const take = (before: readonly Sample[], atMs: number, connections: number | null = 7): readonly Sample[] =>
    sampled(before, service({ generations: [generation(3, { connections })] }), status().listeners, atMs);

  test("are forgotten after five minutes, and those that are close replace each other", () => {
    let samples: readonly Sample[] = [];
    for (let ms = 0; ms <= 2 * WINDOW_MS; ms += 1_000) samples = take(samples, NOW + ms);
    expect(samples.length).toBe(WINDOW_MS / 1_000 + 1);
    expect(take(samples, NOW + 2 * WINDOW_MS).length).toBe(samples.length);
  });

  test("add up the queues of the service, and in a hold those who wait for nobody yet", () => {
    expect(take([], NOW)[0]?.waiting).toBe(3);
    const held = { since: at(0), requestedBy: "ada", idles: false, waiting: 12 };
    expect(sampled([], service({ held }), status().listeners, NOW)[0]?.waiting).toBe(12);
  });

  test("are columns in which a generation that was not there yet has a gap", () => {
    const samples = [...take([], NOW), ...sampled([], service(), status().listeners, NOW + 1_000)];
    expect(openColumns(samples).series).toEqual([
      { key: 2, values: [null, 2] },
      { key: 3, values: [7, 3] },
      { key: 4, values: [null, 4] },
    ]);
    expect(waitingColumns(samples)).toEqual({
      seconds: [NOW / 1000, NOW / 1000 + 1],
      series: [{ key: 0, values: [3, 3] }],
    });
  });

  test("are shown over a minute at first, and over all that is remembered later", () => {
    expect(spanOf([])).toEqual({ min: -60, max: 0 });
    expect(spanOf([1_000, 1_010])).toEqual({ min: 950, max: 1_010 });
    expect(spanOf([1_000, 1_090])).toEqual({ min: 1_000, max: 1_090 });
    expect(spanOf([1_000, 1_000 + WINDOW_MS / 1_000])).toEqual({ min: 1_000, max: 1_300 });
  });

  test("of connections that are not counted are no line at 0", () => {
    expect(openColumns(take([], NOW, null)).series).toEqual([]);
  });
});

test("times and shares are said as people say them", () => {
  expect([12, 430, 9_940, 12_000, 185_000, 7_440_000, 266_400_000, -5].map(duration)).toEqual([
    "12 ms",
    "0.4 s",
    "9.9 s",
    "12 s",
    "3 min 5 s",
    "2 h 4 min",
    "3 d 2 h",
    "0 ms",
  ]);
  expect([-1, 900, 9_900, 60_000].map(age)).toEqual(["0 s", "0 s", "9 s", "1 min"]);
  expect([-1, 1, 42_000, 725_000, 3_723_000].map(countdown)).toEqual([
    "0:00",
    "0:01",
    "0:42",
    "12:05",
    "1:02:03",
  ]);
  expect([0, 0.05, 1 / 3, 0.005, 1].map(percent)).toEqual(["0 %", "5 %", "33.3 %", "0.5 %", "100 %"]);
});
