import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { FINDINGS } from "../../../cli/verify/findings.ts";
import { judge } from "../../../cli/verify/judgement.ts";
import type { Observations } from "../../../cli/verify/observations.ts";
import { root } from "../../support/paths.ts";
import { deployOf, eventOf, lossOf, observations, second } from "./observations.ts";

/** Code and lost requests of each finding. */
function found(rest: Partial<Observations>): [string, number][] {
  return judge(observations(rest)).map(({ code, lost }) => [code, lost]);
}

/** The first generation did not come up. */
function failing(code: string, rest: Partial<Observations> = {}): [string, number][] {
  const phases = [
    ["starting", -10],
    ["failed", -8],
  ] as const;
  const start = deployOf(null, 1, phases, { reason: { code, message: "It failed." } });
  return found({ start, deploys: [], ...rest });
}

const use = { generation: 1, elsewhere: null, hasOurs: true, childWithout: null };

test("nothing is found where nothing was lost", () => {
  expect(found({})).toEqual([]);
});

test("docs/verify.md says what each finding means", () => {
  const page = readFileSync(`${root}/docs/verify.md`, "utf8");
  const documented = [...page.matchAll(/^\| `([a-z-]+)` +\|/gmu)].map(([, code]) => code);
  expect(documented.sort()).toEqual(Object.keys(FINDINGS).sort());
});

describe("a generation that does not come up", () => {
  test.each([
    [
      "listens on an address of its own",
      "DEPLOY_READY_TIMEOUT",
      { sockets: [{ ...use, elsewhere: "127.0.0.1:3000" }] },
      "binds-own-port",
    ],
    [
      "says READY=1 and listens elsewhere",
      "DEPLOY_VERIFY_FAILED",
      { sockets: [{ ...use, elsewhere: "127.0.0.1:3000" }] },
      "binds-own-port",
    ],
    [
      "wants an address that somebody else has",
      "DEPLOY_CANDIDATE_EXITED",
      { output: ["Error: listen EADDRINUSE: address already in use :::8080"] },
      "binds-own-port",
    ],
    [
      "has a child without the socket",
      "DEPLOY_READY_TIMEOUT",
      { sockets: [{ ...use, childWithout: "node" }] },
      "loses-descriptors",
    ],
    [
      "is told to listen on what it has not",
      "DEPLOY_CANDIDATE_EXITED",
      { output: ["Error: listen EINVAL"] },
      "loses-descriptors",
    ],
    ["accepts nothing", "DEPLOY_READY_TIMEOUT", { sockets: [use] }, "ignores-listen-fds"],
    [
      "closes what it was given",
      "DEPLOY_READY_TIMEOUT",
      { readyBy: "notify" as const, sockets: [{ ...use, hasOurs: false }] },
      "ignores-listen-fds",
    ],
    [
      "never says READY=1",
      "DEPLOY_READY_TIMEOUT",
      { readyBy: "notify" as const, sockets: [use] },
      "never-ready",
    ],
    ["exits", "DEPLOY_CANDIDATE_EXITED", { output: ["no database"] }, "does-not-start"],
    [
      "is not given its sockets in time",
      "DEPLOY_CANDIDATE_FAILED",
      { events: [eventOf("generation.failure", -9, { generation: 1, code: "HANDOFF_TIMEOUT" })] },
      "deploy-failed",
    ],
    [
      "cannot be executed",
      "DEPLOY_CANDIDATE_FAILED",
      { events: [eventOf("generation.failure", -9, { generation: 1, code: "LAUNCH_FAILED" })] },
      "does-not-start",
    ],
    ["is refused by verify:", "DEPLOY_VERIFY_FAILED", { sockets: [use] }, "fails-verification"],
    ["is not judged", "DEPLOY_ABORTED", {}, "deploy-failed"],
  ] as const)("because it %s is named so", (_title, code, rest, expected) => {
    expect(failing(code, rest)).toEqual([[expected, 0]]);
  });
});

describe("while an old generation ends", () => {
  const inDrain = [lossOf("reuse", 4.1, -1), lossOf("cut", 4.2, 1), lossOf("reset", 4.2, 1)];

  test("requests that were sent into closed connections are lost by who closed them", () => {
    expect(found({ losses: inDrain })).toEqual([
      ["exits-with-requests", 2],
      ["closes-idle-connections", 1],
    ]);
  });

  test("connections that are closed at once are a finding though nobody happened to ask", () => {
    const close = { listener: "web", openedAt: second(-1) };
    expect(found({ idleCloses: [{ ...close, at: second(4.1) }] })).toEqual([["closes-idle-connections", 0]]);
    expect(found({ idleCloses: [{ ...close, at: second(6) }] })).toEqual([]);
    expect(found({ idleCloses: [{ ...close, at: second(1) }] })).toEqual([]);
  });

  test("what is cut by SIGKILL is the fault of not ending", () => {
    expect(found({ losses: inDrain, retirements: [{ generation: 1, childrenOnly: false }] })).toEqual([
      ["does-not-end", 3],
    ]);
  });

  test("the kill of one generation excuses no loss of another", () => {
    expect(found({ losses: inDrain, retirements: [{ generation: 2, childrenOnly: false }] })).toEqual([
      ["exits-with-requests", 2],
      ["closes-idle-connections", 1],
      ["does-not-end", 0],
    ]);
  });

  test("children that are left are named, whether they were killed or ran on", () => {
    expect(found({ losses: inDrain, retirements: [{ generation: 1, childrenOnly: true }] })).toEqual([
      ["leaves-children", 3],
    ]);
    const leftovers = [{ pid: 7, command: "worker", generation: 1 }];
    expect(judge(observations({ leftovers }))).toMatchObject([
      { code: "leaves-children", seen: "after their generation there ran on pid 7 (worker) of 1" },
    ]);
    expect(found({ events: [eventOf("slot.held", 9, { code: "SLOT_HELD" })] })).toEqual([
      ["leaves-children", 0],
    ]);
  });

  test("clients that wait in its queue are lost to a queue that was left", () => {
    const events = [eventOf("generation.unsettled", 4, { code: "DRAIN_UNSETTLED", generation: 1 })];
    expect(found({ events, losses: [lossOf("late", 7, 1, { load: "new" })] })).toEqual([["leaves-queue", 1]]);
  });

  test("another status than before is named with both", () => {
    const losses = [lossOf("status", 5, 1, { code: "503" }), lossOf("status", 5, 1, { code: "503" })];
    expect(judge(observations({ losses }))).toMatchObject([
      { code: "answers-otherwise", seen: "2 503 instead of 200", lost: 2 },
    ]);
  });

  test("a path that is gone is the loss of all who came by it", () => {
    const losses = [
      lossOf("refused", 9.2, 9.2, { code: "ENOENT" }),
      lossOf("refused", 11, 11, { code: "ENOENT" }),
    ];
    expect(found({ losses, missingPaths: ["/run/app.sock"] })).toEqual([["unlinks-socket", 2]]);
    expect(found({ missingPaths: ["/run/app.sock"] })).toEqual([["unlinks-socket", 0]]);
  });
});

describe("an exit", () => {
  test("in the drain, or of a candidate that failed, is expected", () => {
    expect(found({ events: [eventOf("instance.exited", 4.5, { generation: 1 })] })).toEqual([]);
    expect(
      failing("DEPLOY_ABORTED", { events: [eventOf("instance.exited", -9, { generation: 1 })] }),
    ).toEqual([["deploy-failed", 0]]);
  });

  test("at any other time is not, and has what was lost around it", () => {
    const events = [eventOf("instance.exited", 1.5, { generation: 1 })];
    const losses = [lossOf("reset", 1.6, 1.4), lossOf("reset", 9.5, 9.4)];
    expect(found({ events, losses })).toEqual([
      ["exits-by-itself", 1],
      ["unexplained-loss", 1],
    ]);
  });

  test("where no two generations may run is expected as soon as the deploy begins", () => {
    const deploys = observations().deploys.map((deploy) => ({ ...deploy, strategy: "recreate" as const }));
    expect(found({ deploys, events: [eventOf("instance.exited", 0.1, { generation: 1 })] })).toEqual([]);
  });
});

describe("descriptors", () => {
  test.each([
    ["grow with the requests", [20, 80, 140], [["leaks-descriptors", 0]]],
    ["grow once, as a pool does", [20, 40, 40], []],
    ["stay as they are", [20, 21, 20], []],
  ] as const)("that %s are judged so", (_title, counts, expected) => {
    expect(found({ descriptors: { requests: 60, counts: [...counts] } })).toEqual(expected);
  });
});

test("a start that takes longer than it may is a finding, and one that failed is not called slow", () => {
  expect(found({ readyWithinMs: 999 })).toEqual([["slow-to-be-ready", 0]]);
  expect(found({ readyWithinMs: 1_000 })).toEqual([]);
  expect(failing("DEPLOY_READY_TIMEOUT", { readyWithinMs: 1 })).toEqual([["ignores-listen-fds", 0]]);
});

test("no loss is left out: what nothing explains is said", () => {
  const losses = [lossOf("refused", 9.5, 9.5), lossOf("late", 5, 4.5), lossOf("cut", 5, 4.5)];
  expect(judge(observations({ losses }))).toMatchObject([
    { code: "unexplained-loss", seen: "1 refused, 1 late, 1 cut", lost: 3 },
  ]);
});
