import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import type { Observations } from "../../../cli/verify/observations.ts";
import { progressLine, renderReport } from "../../../cli/verify/render-report.ts";
import { reportOf } from "../../../cli/verify/report.ts";
import { root } from "../../support/paths.ts";
import { deployOf, lossOf, observations, second } from "./observations.ts";

/** A service of Node's own server, which closes what rests as soon as it is told to end. */
function example(): Observations {
  const count = { listener: "web", slowestMs: 41, lost: 0 };
  const idleClose = { listener: "web", at: second(4.02), openedAt: second(-1) };
  return observations({
    counts: [
      { ...count, load: "new", connections: 334, requests: 334 },
      { ...count, load: "keep-alive", connections: 48, requests: 1509, lost: 11 },
      { ...count, load: "idle", connections: 48, requests: 64 },
      { ...count, load: "streaming", connections: 12, requests: 12 },
    ],
    losses: Array.from({ length: 11 }, (_, index) =>
      lossOf("reuse", index < 6 ? 4.01 : 14.01, index < 6 ? -1 : 9),
    ),
    idleCloses: Array.from({ length: 32 }, () => idleClose),
  });
}

const circumstances = { file: "handoffd.yaml", notes: [] };

/** As it is written to a terminal. */
function text(seen: Observations): string {
  const lines = [seen.start, ...seen.deploys].map((deploy, index) =>
    progressLine(deploy, index, seen.wanted),
  );
  return `${lines.join("\n")}\n${renderReport(reportOf(seen, [], circumstances))}\n`;
}

test("docs/verify.md shows what is written", () => {
  const page = readFileSync(`${root}/docs/verify.md`, "utf8");
  const [, shown] = /^```text\n([\s\S]*?)^```$/mu.exec(page) ?? [];
  expect(text(example())).toBe(shown);
});

test("no line is longer than 80 columns, and nothing in it steers the terminal", () => {
  const output = ["\u001b[31mred\u001b[0m and short"];
  const said = text({ ...example(), output });
  expect(said.split("\n").filter((line) => line.length > 80)).toEqual([]);
  expect(said).not.toMatch(/[^\P{Cc}\n]/u);
});

test("a clean service has no findings, and its last words are nobody's business", () => {
  const report = reportOf(observations({ output: ["listening"] }), [], circumstances);
  expect(report).toMatchObject({ clean: true, findings: [], lost: [], output: [] });
  expect(renderReport(report)).toMatch(/^api in handoffd\.yaml, blue-green, 2 deploys: clean$/mu);
});

test("what was lost is counted by load, kind, phase and generation, and by deploy", () => {
  const { lost, deploys } = reportOf(example(), [], circumstances);
  expect(lost).toEqual([
    { listener: "web", load: "keep-alive", kind: "reuse", phase: "draining", generation: "old", count: 11 },
  ]);
  expect(
    deploys.map(({ number, from, to, readyMs, drainMs, lost: count }) => [
      number,
      from,
      to,
      readyMs,
      drainMs,
      count,
    ]),
  ).toEqual([
    [0, null, 1, 1000, null, 0],
    [1, 1, 2, 1000, 4000, 6],
    [2, 2, 3, 1000, 4000, 5],
  ]);
});

test("a process that outlived its daemon is left behind, and named once", () => {
  const leftover = { pid: 7, command: "worker", generation: 1 };
  const left = [
    { pid: 7, startTime: "1", command: "worker" },
    { pid: 8, startTime: "1", command: "logger" },
  ];
  const { findings } = reportOf(observations({ leftovers: [leftover] }), left, circumstances);
  expect(findings).toMatchObject([
    { seen: "after their generation there ran on pid 7 (worker) of 1, pid 8 (logger) of 3" },
  ]);
});

test("what was not tried is said", () => {
  const facts = observations().listeners[0];
  if (facts === undefined) throw new Error("there is a listener");
  const notesOf = (rest: Partial<typeof facts>): readonly string[] =>
    reportOf(observations({ listeners: [{ ...facts, ...rest }] }), [], circumstances).notes;
  expect(notesOf({})).toEqual([]);
  expect(notesOf({ speaks: "unknown" })).toEqual([expect.stringContaining("only connect") as string]);
  expect(notesOf({ streamPath: null })).toEqual([expect.stringContaining("--stream") as string]);
  expect(notesOf({ keepsConnections: false })).toEqual([expect.stringContaining("none is kept") as string]);
  expect(notesOf({ status: 404 })).toEqual([expect.stringContaining("--path") as string]);
  const failed = deployOf(1, 2, [
    ["starting", 0],
    ["failed", 1],
  ]);
  expect(reportOf(observations({ deploys: [failed] }), [], circumstances).notes).toEqual([
    "after 1 of 2 deploys it was not tried any more",
  ]);
});
