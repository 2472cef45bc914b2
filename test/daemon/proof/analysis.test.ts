/** The class Analysis with real requests, real commands and real time: what its view says, and what it leaves behind. */
import { openSync, closeSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { EventDraft } from "../../../admin-api/events.ts";
import { Analysis, type AnalysisContext, type AnalysisSubject } from "../../../daemon/proof/analysis.ts";
import type { AnalysisConfig } from "../../../daemon/config/config.ts";
import { createMetrics } from "../../../daemon/metrics.ts";
import type { AnalysisView } from "../../../deploy/fleet.ts";
import { expectTableUnchanged, table } from "../../handoff/native-support.ts";
import { type Behaviour, FakePrometheus, says, vector } from "../../support/fake-prometheus.ts";
import { alive, childrenOf, environment, eventually, withDeadline } from "../../support/processes.ts";

expectTableUnchanged();

const CONFIG: AnalysisConfig = {
  source: { kind: "command", command: ["true"] },
  max: 0.01,
  min: null,
  everyMs: 20,
  samples: 3,
  noData: "wait",
  deadlineMs: 60_000,
  timeoutMs: 10_000,
};

let devNull = -1;
let folder = "";
let analysis: Analysis;
let surroundings: AnalysisContext["surroundings"];
/** What the view was at each change. */
let views: (AnalysisView | null)[];
/** So many of `views` have been looked at by `becomes`. */
let known: number;
let said: EventDraft[];
let warnings: string[];
let verdicts: string[];

beforeEach(() => {
  devNull = openSync("/dev/null", "r+");
  folder = mkdtempSync(`${tmpdir()}/analysis-`);
  [views, known, said, warnings, verdicts] = [[], 0, [], [], []];
  const log = pino({}, { write: (line) => warnings.push(line) });
  const tally = { ...createMetrics("1", () => Promise.reject(new Error("nobody scrapes")) as never) };
  tally.sampled = (service, verdict) => verdicts.push(`${service} ${verdict}`);
  surroundings = { devNull, log, tally, say: (event) => said.push(event) };
  analysis = new Analysis({ service: "api", onChange: () => views.push(analysis.view), surroundings });
});

afterEach(async () => {
  await analysis.stop();
  expect(childrenOf(process.pid)).toEqual([]);
  closeSync(devNull);
  rmSync(folder, { recursive: true });
});

const subject: AnalysisSubject = {
  version: "v2",
  generation: 5,
  weight: () => 0.05,
  commandSpecification: (command, extra) => ({
    command,
    environment: { ...environment(), ...extra },
    directory: folder,
    identity: null,
    umask: null,
    limits: [],
    nice: null,
    noNewPrivileges: false,
    keepChannel: false,
    deathSignal: "SIGKILL",
  }),
};

const QUERY = 'errors{service="{service}",version="{version}",generation="{generation}"}';

function begin(config: Partial<AnalysisConfig> = {}, stage = 77, more: Partial<AnalysisSubject> = {}): void {
  analysis.begin({ ...CONFIG, ...config }, { ...subject, ...more }, stage);
}

function asks({ url }: FakePrometheus): Pick<AnalysisConfig, "source"> {
  return { source: { kind: "prometheus", url, query: QUERY } };
}

function command(...words: string[]): Pick<AnalysisConfig, "source"> {
  return { source: { kind: "command", command: words } };
}

function shell(script: string): Pick<AnalysisConfig, "source"> {
  return command("/bin/sh", "-c", script);
}

/** The first change, since the one that was found last, to a view that is in this state. */
function becomes(state: AnalysisView["state"]): Promise<AnalysisView> {
  return eventually(`an analysis that is ${state}`, () => {
    const found = views.findIndex((view, index) => index >= known && view?.state === state);
    if (found < 0) return undefined;
    known = found + 1;
    return views[found] ?? undefined;
  });
}

describe("an analysis by a query", () => {
  test("passes with as many good samples as are needed, and goes on looking", async () => {
    await using fake = await FakePrometheus.start(vector("0.001"));
    begin(asks(fake));
    expect(analysis.view).toMatchObject({ stage: 77, state: "waiting", samples: 0, reason: null });
    const view = await becomes("passing");
    expect(view).toMatchObject({ stage: 77, samples: 3, reason: null });
    await eventually("another sample", () => (analysis.view?.samples ?? 0) > 4);
    expect(views.slice(0, 3).map((each) => each?.samples)).toEqual([1, 2, 3]);
    expect(fake.asked[0]?.parameters.get("query")).toBe('errors{service="api",version="v2",generation="5"}');
    expect(said.map(({ type, message }) => [type, message])).toEqual([
      ["analysis.sample", "analysis of api/5: a sample is good"],
    ]);
  });

  test("fails with the first sample beyond the limit, says the value, and looks no more", async () => {
    await using fake = await FakePrometheus.start(vector("0.001"));
    begin(asks(fake));
    await becomes("passing");
    fake.behaviour = vector("0.001", "0.2");
    const { reason } = await becomes("failing");
    expect(reason).toEqual({
      code: "ANALYSIS_FAILING",
      message: "the last sample was 0.2, and 0.01 is the most.",
    });
    const { length } = fake.asked;
    // Another one, of the same pace, tells that the time for more has passed.
    await using clock = await FakePrometheus.start(vector("0"));
    const other = new Analysis({ service: "other", onChange: () => undefined, surroundings });
    other.begin({ ...CONFIG, ...asks(clock) }, subject, 77);
    await eventually("three samples more", () => other.view?.state === "passing");
    await other.stop();
    expect(fake.asked).toHaveLength(length);
    expect(verdicts.filter((each) => each === "api bad")).toHaveLength(1);
    expect(said.map(({ code }) => code)).toEqual([undefined, "ANALYSIS_FAILING", undefined]);
  });

  const SILENT: readonly [string, Behaviour, RegExp][] = [
    ["has no series", vector(), /was empty: no series matches/],
    ["is not a number", vector("NaN"), /was not a number/],
    ["has one series that is not a number", vector("0", "NaN"), /was not a number/],
    ["is an error", says("no", 500), /had no answer: status 500/],
    ["is garbage", says("{"), /had no answer: what came is not JSON/],
    ["does not come in time", () => undefined, /had no answer: no answer from http:\S+ within 30 ms/],
  ];
  test.each(SILENT)(
    "is without data as soon as enough answers in a row are such that it %s",
    async (_title, behaviour, because) => {
      await using fake = await FakePrometheus.start(vector("0"));
      begin({ ...asks(fake), timeoutMs: 30 });
      await becomes("passing");
      fake.behaviour = behaviour;
      const view = await becomes("no-data");
      expect(view.reason).toEqual({
        code: "ANALYSIS_NO_DATA",
        message: expect.stringMatching(because) as string,
      });
      expect(verdicts).toContain("api none");
      fake.behaviour = vector("0");
      expect((await becomes("passing")).reason).toBeNull();
    },
  );

  test("is without data when nobody listens at the URL", async () => {
    const url = await (async () => {
      await using fake = await FakePrometheus.start(vector("0"));
      return fake.url;
    })();
    begin({ source: { kind: "prometheus", url, query: QUERY } });
    const { reason } = await becomes("no-data");
    expect(reason?.message).toBe(`the last sample had no answer: ${url} refused the connection.`);
  });

  test("does not ask about no version at all, when the release has none", async () => {
    await using fake = await FakePrometheus.start(vector("0"));
    begin(asks(fake), 77, { version: null });
    const { reason } = await becomes("no-data");
    expect(reason?.message).toContain("the query asks for {version}, and this release has none");
    expect(fake.asked).toEqual([]);
  });

  test("never has two questions open: a slow answer delays the next", async () => {
    await using fake = await FakePrometheus.start((response) => {
      setTimeout(() => vector("0")(response), 60);
    });
    begin({ ...asks(fake), everyMs: 5 });
    await becomes("passing");
    expect(fake.most).toBe(1);
  });

  test("writes down once what Prometheus warns of", async () => {
    const data = { resultType: "scalar", result: [1, "0"] };
    await using fake = await FakePrometheus.start(says({ status: "success", data, warnings: ["partial"] }));
    begin(asks(fake));
    await becomes("passing");
    expect(warnings.filter((line) => line.includes('"partial"'))).toHaveLength(1);
  });
});

describe("an analysis by a command", () => {
  test("passes while it exits with 0, in the surroundings that it is to judge", async () => {
    begin(shell('echo "$HANDOFF_WEIGHT" >> weights'));
    await becomes("passing");
    await analysis.stop();
    expect(readFileSync(`${folder}/weights`, "utf8")).toMatch(/^0\.05\n0\.05\n0\.05\n/u);
  });

  test.each([
    ["exits with another status", "echo 'p99 is 2 s' >&2; exit 3", "exited with 3; it said: p99 is 2 s."],
    ["is killed", "kill -KILL $$", "exited with a signal."],
  ])("fails when it %s", async (_title, script, because) => {
    begin(shell(script));
    const { reason } = await becomes("failing");
    expect(reason?.message).toBe(`the last sample ${because}`);
  });

  test.each([
    ["is not there", command("./no-such-program"), /had no answer: command not found: \.\/no-such-program/],
    [
      "is not done in time",
      shell("sleep 60 & sleep 60"),
      /had no answer: the command was not done within 50 ms/,
    ],
  ])("is without data when it %s", async (_title, source, because) => {
    begin({ ...source, timeoutMs: 50 });
    expect((await becomes("no-data")).reason?.message).toMatch(because);
  });

  test("is without data when its surroundings cannot be made", async () => {
    const commandSpecification = (): never => {
      throw new Error("the environment's file is gone");
    };
    begin(command("true"), 77, { commandSpecification });
    expect((await becomes("no-data")).reason?.message).toMatch(
      /had no answer: the environment's file is gone/,
    );
  });
});

describe("the end of an analysis", () => {
  test("leaves no request, and the view is nothing at once", async () => {
    await using fake = await FakePrometheus.start(() => undefined);
    const before = table();
    begin(asks(fake));
    await eventually("a question", () => fake.open === 1);
    const over = analysis.stop();
    expect(analysis.view).toBeNull();
    await over;
    await eventually("the closed connection", () => fake.open === 0 && table() === before);
    await analysis.stop();
    expect(views).toEqual([]);
  });

  test("leaves no process of the command, nor of those that it has started", async () => {
    const pids = (): number[] => {
      try {
        return readFileSync(`${folder}/pids`, "utf8").trim().split("\n").map(Number);
      } catch {
        return [];
      }
    };
    begin(shell("sleep 60 & echo $! > pids; echo $$ >> pids; wait"));
    const started = await eventually("two processes", () => (pids().length === 2 ? pids() : undefined));
    await analysis.stop();
    expect(started.filter(alive)).toEqual([]);
    expect(views).toEqual([]);
  });

  test("comes while a command is just being launched, too", async () => {
    let over: Promise<void> | undefined;
    const commandSpecification: AnalysisSubject["commandSpecification"] = (...all) => {
      queueMicrotask(() => {
        over = analysis.stop();
      });
      return subject.commandSpecification(...all);
    };
    begin(command("sleep", "60"), 77, { commandSpecification });
    await eventually("its launch", () => over !== undefined);
    await withDeadline(over ?? Promise.reject(new Error("none")), 5_000, "the end of the command");
    expect(childrenOf(process.pid)).toEqual([]);
  });

  test("is that of a stage when the next begins: its late answer is dropped, and nobody is asked meanwhile", async () => {
    const late: (() => void)[] = [];
    await using fake = await FakePrometheus.start((response) => {
      late.push(() => vector("0.2")(response));
    });
    begin(asks(fake), 77);
    await eventually("a question", () => late.length === 1);
    begin({ ...asks(fake), everyMs: 40 }, 88);
    late.shift()?.();
    expect(analysis.view).toMatchObject({ stage: 88, state: "waiting", samples: 0 });
    fake.behaviour = vector("0");
    expect(await becomes("passing")).toMatchObject({ stage: 88, samples: 3 });
    expect([fake.most, views.filter((view) => view?.stage === 77)]).toEqual([1, []]);
  });

  test("of a command is waited for before the next stage looks, however soon that is", async () => {
    begin(shell("sleep 60 & sleep 60"), 77);
    await eventually("a command", () => childrenOf(process.pid).length > 0);
    const outputs: number[] = [];
    const commandSpecification: AnalysisSubject["commandSpecification"] = (...all) => {
      outputs.push(table().split("handoff-command-output").length - 1);
      return subject.commandSpecification(...all);
    };
    begin({ ...command("true"), everyMs: 0 }, 88, { commandSpecification });
    await becomes("passing");
    // Its own alone: that of the one before is closed when nothing of that is left.
    expect(outputs[0]).toBe(1);
  });
});
