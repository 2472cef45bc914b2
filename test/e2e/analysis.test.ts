/** Canaries that are judged while users meet them: by a real Prometheus, and by one that has nothing to say. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fillQuery } from "../../daemon/config/placeholders.ts";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { type Behaviour, FakePrometheus, vector } from "../support/fake-prometheus.ts";
import { lost, type Report, startLoad } from "../support/load.ts";
import { countConnections } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf, root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import { hasPrometheus, type Prometheus, startPrometheus } from "../support/prometheus.ts";
import type { Deploy } from "../support/status.ts";

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };

function phasesOf({ phases }: Deploy): readonly string[] {
  return phases.map(({ phase }) => phase);
}

/** How long the deploy was in a phase, in milliseconds. */
function lasted({ phases }: Deploy, phase: string): number {
  const found = phases.find((each) => each.phase === phase);
  return Date.parse(found?.finishedAt ?? "") - Date.parse(found?.startedAt ?? "");
}

async function begin(daemon: Daemon, version: string, service = "api"): Promise<string> {
  const { json } = await daemon.api("POST", `/v1/services/${service}/deploys`, { version });
  return (json as Deploy).id;
}

describe.skipIf(!hasPrometheus)("a real Prometheus that scrapes the example application", () => {
  const LABELS = 'service="{service}",version="{version}",generation="{generation}"';
  const rate = (labels: string): string => `sum(rate(http_requests_total{${labels}}[5s]))`;
  const ANALYSIS = {
    query: `${rate(`${LABELS},code=~"5.."`)} / ${rate(LABELS)}`,
    max: 0.05,
    every: "1s",
    samples: 3,
  };
  const SHARE = 0.2;
  let targets: string;
  let prometheus: Prometheus;
  let daemon: Daemon;

  function configuration(analysis: Config): Config {
    return oneService({
      command: ["python3", `${root}/examples/canary/server.py`],
      environment: { METRICS_TARGETS: targets },
      version: "1",
      verify: [{ http: { path: "/healthz", expect: 200, count: 5 } }],
      deploy: { strategy: "canary", steps: [{ weight: "20%", for: "1s" }], bake: "1s", analysis },
    });
  }

  beforeAll(async () => {
    targets = mkdtempSync(`${tmpdir()}/targets-`);
    const scrape = {
      job_name: "api",
      file_sd_configs: [{ files: [`${targets}/*.json`], refresh_interval: "1s" }],
    };
    prometheus = await startPrometheus({
      config: { global: { scrape_interval: "1s" }, scrape_configs: [scrape] },
    });
    daemon = await startDaemon({ config: configuration({ ...ANALYSIS, prometheus: prometheus.url }) });
    await prometheus.until('up{service="api",version="1",generation="1"} == 1');
  });

  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    await prometheus.stop();
    rmSync(targets, { recursive: true });
  });

  async function underLoad<T>(act: () => Promise<T>): Promise<{ found: T; report: Report }> {
    const { target } = addressOf(await daemon.status(), "web");
    await using load = startLoad({ target, mode: "new", connections: 8, rate: 200 });
    await load.started;
    const found = await act();
    const report = await load.stop();
    expect(lost(report)).toEqual(NOTHING);
    return { found, report };
  }

  test("lets a good candidate go through, with the samples that each stage needs", async () => {
    const { found: deploy, report } = await underLoad(() => daemon.deploy("2"));
    expect({ phase: deploy.phase, reason: deploy.reason }).toEqual({ phase: "succeeded", reason: null });
    expect(deploy.touched?.peak).toBe(1);
    expect(lasted(deploy, "shifting")).toBeGreaterThanOrEqual(3_000);
    expect(lasted(deploy, "baking")).toBeGreaterThanOrEqual(3_000);
    expect(report.badStatus).toBe(0);
    const page = String((await daemon.api("GET", "/metrics")).json);
    const good = /handoffd_analysis_samples_total\{service="api",verdict="good"\} (\d+)/u.exec(page)?.[1];
    expect(Number(good)).toBeGreaterThanOrEqual(6);
    expect(page).not.toMatch(/service="api",verdict="bad"\} [1-9]/u);
    await eventually("the end of what the last generation's process told Prometheus", () => {
      return readdirSync(targets).join() === "api-2-1.json";
    });
  });

  test("answers each query of docs/strategies.md with one number", async () => {
    const text = readFileSync(`${root}/docs/strategies.md`, "utf8");
    const queries = [...text.matchAll(/^```promql\n([\s\S]*?)^```$/gmu)].map(([, query = ""]) => query);
    expect(queries.length).toBeGreaterThan(0);
    for (const query of queries) {
      const samples = await prometheus.query(
        fillQuery(query, { service: "api", version: "2", generation: 2 }),
      );
      expect({ query, values: samples.map(({ value }) => value) }).toEqual({
        query,
        values: [expect.closeTo(0, 0)],
      });
    }
  });

  test("sends a candidate with 20 % errors back by itself, and says what share of the users it had", async () => {
    const before = await daemon.service();
    const { found: deploy, report } = await underLoad(() => daemon.deploy("3-faulty"));
    expect(phasesOf(deploy)).toEqual(["starting", "verifying", "shifting", "rolling-back", "rolled-back"]);
    expect(deploy.reason?.code).toBe("DEPLOY_ANALYSIS_FAILED");
    expect(deploy.reason?.message).toMatch(
      new RegExp(
        `^The analysis of generation ${deploy.to} failed while shifting: the last sample was 0\\.\\d+, and 0\\.05 is the most\\. ` +
          `New connections go to generation ${before.current ?? 0} again\\. ` +
          `Generation ${deploy.to} had 20 % of new connections for [\\d.]+s\\.$`,
      ),
    );
    const { where } = addressOf(await daemon.status(), "web");
    expect(await countConnections(200, where)).toEqual({ [String(before.current)]: 200 });

    // What it says is what the clients saw: so many of the connections of that time, and every fifth of those in vain.
    const { touched } = deploy;
    expect(touched).toEqual({ share: SHARE, peak: SHARE, forMs: expect.any(Number) as number });
    const met = report.generations[deploy.to] ?? 0;
    const inThatTime = (report.requests / report.durationMs) * (touched?.forMs ?? 0);
    const standardError = Math.sqrt(inThatTime * SHARE * (1 - SHARE));
    expect(Math.abs(met - inThatTime * SHARE)).toBeLessThan(4 * standardError + 0.1 * inThatTime * SHARE);
    expect(Math.abs(report.badStatus - met / 5)).toBeLessThanOrEqual(1);
  });

  test("has a candidate waited for without its word, and then sent back: when nobody asks that, and when it dies itself", async () => {
    const analysis = { ...ANALYSIS, prometheus: prometheus.url, deadline: "3s" };
    await using alone = await startDaemon({ config: configuration(analysis) });
    const quiet = await alone.deploy("quiet");
    const id = await begin(alone, "dying");
    await alone.untilDeploy(id, { until: ["shifting"] });
    await prometheus.stop();
    const dying = await alone.untilDeploy(id);
    const refused = `the last sample had no answer: ${prometheus.url} refused the connection.`;
    for (const deploy of [quiet, dying]) {
      expect(phasesOf(deploy)).toEqual(["starting", "verifying", "shifting", "rolling-back", "rolled-back"]);
      expect(lasted(deploy, "shifting")).toBeGreaterThanOrEqual(3_000);
      expect(deploy.reason?.code).toBe("DEPLOY_ANALYSIS_NO_DATA");
      expect(deploy.reason?.message).toMatch(
        /came to no verdict in [\d.]+s while shifting \(0 of 3 good samples\)/u,
      );
    }
    expect(quiet.reason?.message).toMatch(
      /the last sample was (not a number|empty: no series matches the query)\./u,
    );
    expect(dying.reason?.message).toContain(refused);
    expect((await alone.service()).current).toBe(1);
  });
});

describe("a Prometheus without an answer", () => {
  const DEADLINE_MS = 3_000;
  const PACE = { query: "up", max: 0, every: "100ms", samples: 3, timeout: "150ms" };
  const SOURCES = ["down", "slow", "empty"] as const;
  const POLICIES = ["wait", "pass", "fail"] as const;

  async function urls(): Promise<AsyncDisposable & Record<(typeof SOURCES)[number], string>> {
    const slow = await FakePrometheus.start(() => undefined);
    const empty = await FakePrometheus.start(vector());
    const gone = await FakePrometheus.start(vector());
    await gone[Symbol.asyncDispose]();
    const dispose = async (): Promise<void> => {
      await slow[Symbol.asyncDispose]();
      await empty[Symbol.asyncDispose]();
    };
    return { down: gone.url, slow: slow.url, empty: empty.url, [Symbol.asyncDispose]: dispose };
  }

  function canary(analysis: Config): Config {
    return {
      command: commandOf("polite.mjs"),
      version: "v0",
      deploy: { strategy: "canary", steps: [{ weight: "50%", for: "100ms" }], bake: "100ms", analysis },
    };
  }

  test("is waited for, taken for good or for bad, as it is configured, and never promoted blindly", async () => {
    await using at = await urls();
    const all = SOURCES.flatMap((source) =>
      POLICIES.map((policy) => ({ source, policy, name: `${source}-${policy}` })),
    );
    const services = all.map(({ source, policy, name }) => {
      const analysis = { ...PACE, prometheus: at[source], no_data: policy, deadline: `${DEADLINE_MS}ms` };
      return [name, { ...canary(analysis), listeners: [name] }];
    });
    const listeners = all.map(({ name }) => [name, { address: "tcp:127.0.0.1:0" }]);
    await using daemon = await startDaemon({
      config: {
        listeners: Object.fromEntries(listeners) as Config,
        services: Object.fromEntries(services) as Config,
      },
    });
    const ended = await Promise.all(
      all.map(async ({ policy, name }) => ({ policy, deploy: await daemon.deploy("v1", { service: name }) })),
    );
    for (const { policy, deploy } of ended) {
      const end = { service: deploy.service, phase: deploy.phase, code: deploy.reason?.code ?? null };
      const isLate = lasted(deploy, "shifting") >= DEADLINE_MS;
      if (policy === "pass") {
        expect(end).toEqual({ ...end, phase: "succeeded", code: null });
        continue;
      }
      expect(end).toEqual({ ...end, phase: "rolled-back", code: "DEPLOY_ANALYSIS_NO_DATA" });
      expect(phasesOf(deploy)).not.toContain("baking");
      expect({ ...end, isLate }).toEqual({ ...end, isLate: policy === "wait" });
    }
  });

  async function waiting(
    behaviour: Behaviour,
    then: (daemon: Daemon, fake: FakePrometheus, id: string) => Promise<void>,
  ): Promise<void> {
    await using fake = await FakePrometheus.start(behaviour);
    const analysis = { ...PACE, prometheus: fake.url, deadline: "60s" };
    await using daemon = await startDaemon({ config: oneService(canary(analysis)) });
    const id = await begin(daemon, "v1");
    const { length } = fake.asked;
    await eventually("more questions than are needed", () => fake.asked.length > length + 2 * PACE.samples);
    expect(await daemon.untilDeploy(id, { until: ["shifting"] })).toMatchObject({
      phase: "shifting",
      weight: 0.5,
    });
    await then(daemon, fake, id);
  }

  test("holds the deploy at its step, which goes on as soon as there is one", async () => {
    await waiting(vector(), async (daemon, fake, id) => {
      fake.behaviour = vector("0");
      expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "succeeded", reason: null });
      const { length } = fake.asked;
      // A program's start and end: time enough for several samples, if somebody still took any.
      await daemon.cli("status");
      expect(fake.asked).toHaveLength(length);
    });
  });

  test("is asked anew by the daemon that goes on after another's death", async () => {
    await waiting(vector("NaN"), async (daemon, fake, id) => {
      process.kill(daemon.pid, "SIGKILL");
      await daemon.exit;
      const { length } = fake.asked;
      fake.behaviour = vector("0");
      await daemon.start();
      expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "succeeded", reason: null });
      // For the step and for the bake.
      expect(fake.asked.length - length).toBeGreaterThanOrEqual(2 * PACE.samples);
    });
  });
});

test("a command that finds fault with a candidate sends it back, in its own words", async () => {
  const judge = 'echo "$HANDOFF_SERVICE $HANDOFF_VERSION $HANDOFF_GENERATION $HANDOFF_WEIGHT"; exit 3';
  const analysis = { command: ["/bin/sh", "-c", judge], every: "100ms", samples: 1 };
  const deploy = { strategy: "canary", steps: [{ weight: "5%", for: "1m" }], analysis };
  await using daemon = await startDaemon({ config: oneService({ deploy }) });
  const { phase, reason } = await daemon.deploy("v1");
  expect({ phase, code: reason?.code }).toEqual({ phase: "rolled-back", code: "DEPLOY_ANALYSIS_FAILED" });
  expect(reason?.message).toContain("the last sample exited with 3; it said: api v1 2 0.05.");
});
