/** Observations as tests need them: two deploys of ten seconds each, and nothing wrong but what a test says. */
import type { Deploy, Event, Phase } from "../../../admin-api/schemas.ts";
import type { Loss, Observations } from "../../../cli/verify/observations.ts";

const BEGAN = Date.parse("2026-01-01T00:00:00.000Z");

/** Milliseconds since the epoch, so many seconds after the tests' beginning. */
export function second(seconds: number): number {
  return BEGAN + seconds * 1000;
}

export function time(seconds: number): string {
  return new Date(second(seconds)).toISOString();
}

/** `phases`: each with the second at which it begins; it lasts until the next. */
export function deployOf(
  from: number | null,
  to: number,
  phases: readonly (readonly [Phase, number])[],
  rest: Partial<Deploy> = {},
): Deploy {
  const [first, last] = [phases.at(0), phases.at(-1)];
  if (first === undefined || last === undefined) throw new Error("a deploy has phases");
  return {
    id: `api-${to}`,
    service: "api",
    strategy: "blue-green",
    from,
    to,
    version: null,
    phase: last[0],
    weight: 1,
    touched: null,
    step: null,
    pinned: false,
    paused: false,
    requestedBy: "root",
    startedAt: time(first[1]),
    finishedAt: time(last[1]),
    reason: null,
    phases: phases.map(([phase, at], index) => {
      const next = phases[index + 1];
      return { phase, startedAt: time(at), finishedAt: next === undefined ? null : time(next[1]) };
    }),
    ...rest,
  };
}

/** It is replaced from second `at` on: starts 1 s, verifies 1 s, shifts 1 s, bakes 1 s, drains 4 s. */
export function replacement(to: number, at: number, rest: Partial<Deploy> = {}): Deploy {
  const phases = ["starting", "verifying", "shifting", "baking", "draining"] as const;
  return deployOf(
    to - 1,
    to,
    [...phases.map((phase, index) => [phase, at + index] as const), ["succeeded", at + 8]],
    rest,
  );
}

const START = deployOf(null, 1, [
  ["starting", -10],
  ["shifting", -9],
  ["succeeded", -9],
]);

/** Drains in the seconds 4 to 8, and 14 to 18. */
export function observations(rest: Partial<Observations> = {}): Observations {
  return {
    service: "api",
    readyBy: "listening",
    drainTimeoutMs: 30_000,
    strategy: "blue-green",
    start: START,
    deploys: [replacement(2, 0), replacement(3, 10)],
    wanted: 2,
    listeners: [
      {
        name: "web",
        address: "127.0.0.1:40001",
        speaks: "http",
        path: "/",
        streamPath: "/stream",
        status: 200,
        keepsConnections: true,
      },
    ],
    counts: [],
    losses: [],
    idleCloses: [],
    events: [],
    sockets: [],
    retirements: [],
    leftovers: [],
    missingPaths: [],
    descriptors: null,
    output: [],
    readyWithinMs: 15_000,
    ...rest,
  };
}

/** `at` and `opened`: seconds. */
export function lossOf(kind: Loss["kind"], at: number, opened: number, rest: Partial<Loss> = {}): Loss {
  return {
    listener: "web",
    load: "keep-alive",
    kind,
    at: second(at),
    openedAt: second(opened),
    code: null,
    ...rest,
  };
}

export function eventOf(type: string, at: number, rest: Partial<Event> = {}): Event {
  return { id: 1, at: time(at), type, message: `${type} of api/1`, service: "api", ...rest };
}
