import { expect, test } from "vitest";

import type { Deploy, Generation, Service } from "../../admin-api/schemas.ts";
import { bar } from "../../cli/bar.ts";
import { left, span } from "../../cli/duration.ts";
import { canMove, lookOf, PLAIN } from "../../cli/look.ts";
import { renderProgress } from "../../cli/render-progress.ts";

const START = Date.parse("2026-01-02T03:04:05.000Z");
const at = (seconds: number): string => new Date(START + seconds * 1000).toISOString();
const now = START + 12_000;

const deploy: Deploy = {
  id: "api-4",
  service: "api",
  strategy: "canary",
  from: 3,
  to: 4,
  version: "42",
  phase: "shifting",
  weight: 0.05,
  touched: null,
  step: { index: 0, of: 3, since: at(2), continuedAt: null },
  pinned: false,
  paused: false,
  requestedBy: "root (uid 0)",
  startedAt: at(0),
  finishedAt: null,
  reason: null,
  phases: [{ phase: "shifting", startedAt: at(2), finishedAt: null }],
};

function generation(number: number, weight: number, more: Partial<Generation> = {}): Generation {
  const instance = { pid: 1, state: "serving", restarts: 0 } as const;
  const instances = [
    { id: 1, ...instance },
    { id: 2, ...instance },
  ];
  return {
    number,
    version: null,
    state: "serving",
    weight,
    connections: 17,
    startedAt: at(0),
    instances,
    ...more,
  };
}

const service: Service = {
  name: "api",
  state: "running",
  current: 3,
  candidate: 4,
  previous: null,
  generations: [
    generation(2, 0, { state: "draining" }),
    generation(3, 0.95),
    generation(4, 0.05, { connections: 1 }),
  ],
  deploy,
  held: null,
};

const draw = (changes: Partial<Deploy>, columns = 80, of: Service | null = service): readonly string[] =>
  renderProgress({ ...deploy, ...changes }, of, now, { ...PLAIN, columns });

test("a canary's step has a clock, and each generation its share", () => {
  expect(draw({ until: at(22) })).toEqual([
    `  step 1 of 3   ${"█".repeat(16)}${"░".repeat(16)}  10 s left`,
    `  generation 3  ${"█".repeat(30)}${"░".repeat(2)}   95 %  17 connections`,
    `  generation 4  ${"█".repeat(2)}${"░".repeat(30)}    5 %  1 connection`,
  ]);
});

test("in 40 columns the bars are short, and nothing is wider", () => {
  expect(draw({ until: at(22) }, 40)).toEqual([
    "  step 1 of 3   ███░░░  10 s left",
    "  generation 3  █████░   95 %  17 conne…",
    "  generation 4  █░░░░░    5 %  1 connec…",
  ]);
});

const drain = { since: at(2), deadline: at(32), connections: 4 };
const draining = { ...service, generations: [generation(3, 0, { state: "draining", draining: drain })] };

test.each([
  ["a bake", { phase: "baking", step: null, until: at(22) }, service, / baking .*█░+ {2}10 s left$/u],
  ["a bake that is over", { phase: "baking", until: at(11) }, service, /█ {2}until it is proved once more$/u],
  ["a pause", { paused: true }, service, /^ {2}step 1 of 3 +paused: handoffctl continue api$/u],
  ["a start", { phase: "starting", until: at(22) }, service, /^ {2}starting +at most 10 s left$/u],
  ["a drain", { phase: "draining" }, draining, /^ {2}draining +█{11}░{21} {2}at most 20 s left$/u],
  ["a shift", { step: null }, service, /^ {2}shifting$/u],
  ["what was not seen yet", { step: null }, null, /^ {2}shifting$/u],
] as const)("%s is said", (_title, changes, seen, line) => {
  expect(draw(changes, 80, seen)[0]).toMatch(line);
});

test("a bar is never empty for something, nor full for less than all", () => {
  const drawn = (share: number): string => bar(share, 4, "good", { ...PLAIN, isUnicode: false });
  expect([0, 0.001, 0.5, 0.999, 1, 2, -1].map(drawn)).toEqual([
    "----",
    "#---",
    "##--",
    "###-",
    "####",
    "####",
    "----",
  ]);
});

test.each([
  [0, "0 s", "0 ms"],
  [1_500, "2 s", "1.5 s"],
  [125_000, "2 min 5 s", "2 min"],
  [7_260_000, "2 h 1 min", "2 h 1 min"],
])("%d ms are %s on a clock and %s as a span", (ms, clock, took) => {
  expect([left(new Date(ms).toISOString(), 0), span(ms)]).toEqual([clock, took]);
});

const TTY = { isTTY: true, columns: 120 };

test.each([
  ["a terminal", TTY, { TERM: "xterm" }, true],
  ["a file", {}, { TERM: "xterm" }, false],
  ["a dumb terminal", TTY, { TERM: "dumb" }, false],
  ["NO_COLOR", TTY, { TERM: "xterm", NO_COLOR: "1" }, false],
  ["NO_COLOR that is empty", TTY, { TERM: "xterm", NO_COLOR: "" }, true],
  ["FORCE_COLOR into a file", {}, { FORCE_COLOR: "1", NO_COLOR: "1" }, true],
  ["FORCE_COLOR=0", TTY, { TERM: "xterm", FORCE_COLOR: "0" }, false],
])("%s has colours or not", (_title, output, environment, isColoured) => {
  expect(lookOf(output, environment).paint("good", "x")).toBe(isColoured ? "\u001b[32mx\u001b[0m" : "x");
});

test("what cannot move a cursor is never asked to", () => {
  const terminals = [TTY, {}].map((output) => canMove(output, { TERM: "xterm", NO_COLOR: "1" }));
  expect([...terminals, canMove(TTY, { TERM: "dumb" }), canMove(TTY, {})]).toEqual([
    true,
    false,
    false,
    false,
  ]);
});

test("a width is the terminal's, or 80, and blocks are for locales that have them", () => {
  const widths = [TTY, { columns: 120 }, { isTTY: true, columns: 0 }].map((each) => lookOf(each, {}).columns);
  expect(widths).toEqual([120, 80, 80]);
  const locales = [{ LANG: "de_DE.UTF-8" }, { LANG: "C" }, { LC_ALL: "C", LANG: "C.UTF-8" }, {}];
  expect(locales.map((each) => lookOf(TTY, each).isUnicode)).toEqual([true, false, false, false]);
});
