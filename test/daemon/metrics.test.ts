/** docs/metrics.md says what the code says, a scrape shows what is, and what was counted outlives the counting process. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { createMetrics, type Metrics } from "../../daemon/metrics.ts";
import { LEFT_OUT } from "../../daemon/metrics/process.ts";
import { root } from "../support/paths.ts";
import { hasPrometheus } from "../support/prometheus.ts";
import { SCENE } from "./scene.ts";

function create(): Metrics {
  return createMetrics("1.2.3", () => SCENE);
}

/** One of everything that can be counted. */
function countAll(metrics: Metrics): void {
  metrics.expect("api", "blue-green");
  metrics.descriptorsPassed(2);
  metrics.handedOff(0.003);
  metrics.exited("api", "unexpected");
  metrics.restarted("api");
  metrics.verificationFailed("api");
  metrics.drained("api", 2);
  metrics.connectionsCut("api", 3);
  metrics.deployEnded("api", "blue-green", "rolled-back", "DEPLOY_CANDIDATE_EXITED");
  metrics.phaseEnded("api", "baking", 20);
  metrics.stateNotWritten("api");
  metrics.sampled("api", "bad");
  metrics.historyFailed();
  metrics.recovered("keeper");
  metrics.upgraded("succeeded");
}

interface Family {
  readonly type: string;
  readonly labels: string;
  readonly help: string;
}

const inOrder = (labels: Iterable<string>): string => [...new Set(labels)].sort().join(",");

function families(page: string): Map<string, Family> {
  const found = page.matchAll(/^# HELP (\w+) (.*)\n# TYPE \1 (\w+)\n((?:\1.*\n?)*)/gmu);
  return new Map(
    [...found].map(([, name = "", help = "", type = "", series = ""]) => {
      const labels = [...series.matchAll(/(\w+)="/gu)].map(([, label = ""]) => label);
      return [name, { type, labels: inOrder(labels.filter((label) => label !== "le")), help }];
    }),
  );
}

/** The items of docs/metrics.md: - `name{labels}` (type): what HELP says, over as many lines as it takes. */
function documented(): Map<string, Family> {
  const items = readFileSync(`${root}/docs/metrics.md`, "utf8").matchAll(
    /^- `(\w+)(?:\{([\w,]*)\})?` \((\w+)\): (.*(?:\n {2}.*)*)$/gmu,
  );
  return new Map(
    [...items].map(([, name = "", labels, type = "", help = ""]) => [
      name,
      { type, labels: inOrder(labels?.split(",") ?? []), help: help.replaceAll(/\n {2}/gu, " ") },
    ]),
  );
}

const lines = async (metrics: Metrics): Promise<string[]> => (await metrics.page()).split("\n");
const counts = async (metrics: Metrics): Promise<string[]> =>
  (await lines(metrics)).filter((line) => /^handoffd_\w+_(total|bucket|sum|count)\b/u.test(line)).sort();

describe("docs/metrics.md", () => {
  test("has every metric with its type, labels and help, and none that does not exist", async () => {
    const metrics = create();
    countAll(metrics);
    const ours = [...families(await metrics.page())].filter(([name]) => name.startsWith("handoffd_"));
    expect(ours.length).toBeGreaterThan(20);
    expect(Object.fromEntries(documented())).toEqual(Object.fromEntries(ours));
  });

  test("names every metric of the process, and none that does not exist", async () => {
    const theirs = [...families(await create().page()).keys()].filter(
      (name) => !name.startsWith("handoffd_"),
    );
    const [, chapter = ""] = readFileSync(`${root}/docs/metrics.md`, "utf8").split("\n## The process\n");
    const named = [...chapter.matchAll(/`((?:process|nodejs)_\w+)`/gu)].map(([, name = ""]) => name);
    expect(named.sort()).toEqual(theirs.sort());
  });
});

describe("a scrape", () => {
  test("shows weights, queues, connections and instances by role, as they are then", async () => {
    expect(await lines(create())).toEqual(
      expect.arrayContaining([
        'handoffd_build_info{version="1.2.3"} 1',
        "handoffd_start_timestamp_seconds 5",
        'handoffd_listener_weight_ratio{listener="web",service="api",role="current"} 0.95',
        'handoffd_listener_weight_ratio{listener="web",service="api",role="candidate"} 0.05',
        'handoffd_listener_queue_length{listener="web",slot="0"} 2',
        'handoffd_listener_slots{listener="web",state="used"} 3',
        'handoffd_listener_slots{listener="web",state="idle"} 1',
        'handoffd_listener_slots{listener="web",state="held"} 1',
        'handoffd_service_state{service="api",state="running"} 1',
        'handoffd_service_state{service="api",state="degraded"} 0',
        'handoffd_service_connections{service="api",role="candidate"} 4',
        'handoffd_service_connections{service="api",role="draining"} 2',
        'handoffd_service_queue_length{service="api",role="current"} 2',
        'handoffd_service_instances{service="api",role="current",state="serving"} 1',
        'handoffd_service_generation{service="api",role="current"} 3',
        'handoffd_deploy_in_progress{service="api"} 1',
        'handoffd_deploy_paused{service="api"} 1',
        'handoffd_deploy_phase_start_timestamp_seconds{service="api",phase="shifting"} 9',
        'handoffd_drain_start_timestamp_seconds{service="api"} 8',
      ]),
    );
  });

  test("keeps nothing of what was there the time before", async () => {
    let scene = SCENE;
    const metrics = createMetrics("1.2.3", () => scene);
    await metrics.page();
    scene = { status: { ...SCENE.status, listeners: [], services: [] }, drainingSince: new Map() };
    const left = (await lines(metrics)).filter((line) =>
      /^handoffd_(listener|service|drain|deploy)_/u.test(line),
    );
    expect(left).toEqual([]);
  });

  test("shows what a service has never had at 0, so that the first time is seen as a change", async () => {
    const metrics = create();
    metrics.expect("api", "blue-green");
    expect(await lines(metrics)).toEqual(
      expect.arrayContaining([
        'handoffd_deploys_total{service="api",strategy="blue-green",result="failed"} 0',
        'handoffd_deploy_rollbacks_total{service="api",cause="automatic"} 0',
        'handoffd_deploy_phase_duration_seconds_count{service="api",phase="verifying"} 0',
        'handoffd_instance_restarts_total{service="api"} 0',
        'handoffd_state_write_failures_total{service="api"} 0',
        'handoffd_recoveries_total{source="keeper"} 0',
      ]),
    );
    metrics.phaseEnded("api", "verifying", 1);
    metrics.expect("api", "canary");
    expect(await lines(metrics)).toEqual(
      expect.arrayContaining([
        'handoffd_deploys_total{service="api",strategy="canary",result="failed"} 0',
        'handoffd_deploy_phase_duration_seconds_count{service="api",phase="verifying"} 1',
      ]),
    );
  });

  test("tells a rollback that someone asked for from one that nobody did", async () => {
    const metrics = create();
    metrics.deployEnded("api", "blue-green", "rolled-back", "DEPLOY_ROLLED_BACK");
    metrics.deployEnded("api", "blue-green", "rolled-back", "DEPLOY_CANDIDATE_EXITED");
    metrics.deployEnded("api", "blue-green", "rolled-back", "DEPLOY_CANDIDATE_EXITED");
    metrics.deployEnded("api", "blue-green", "failed", "DEPLOY_CANDIDATE_EXITED");
    expect((await counts(metrics)).filter((line) => line.includes("deploy_rollbacks"))).toEqual([
      'handoffd_deploy_rollbacks_total{service="api",cause="automatic"} 2',
      'handoffd_deploy_rollbacks_total{service="api",cause="requested"} 1',
    ]);
  });
});

describe("counters and histograms", () => {
  test("go on where an earlier process has exported them, through JSON, more than once", async () => {
    const first = create();
    countAll(first);
    const second = create();
    second.restore(JSON.parse(JSON.stringify(await first.export())));
    expect(await counts(second)).toEqual(await counts(first));
    countAll(second);
    const third = create();
    third.restore(await second.export());
    countAll(third);
    const alone = create();
    for (let time = 0; time < 3; time++) countAll(alone);
    expect(await counts(third)).toEqual(await counts(alone));
    expect(families(await third.page())).toEqual(families(await alone.page()));
  });

  test("begin at 0 where what was exported does not fit", async () => {
    const metrics = create();
    metrics.expect("api", "blue-green");
    const before = await counts(metrics);
    const record = await metrics.export();
    const [first] = record.metrics;
    const nonsense = [
      null,
      "text",
      { format: 2, metrics: record.metrics },
      { format: 1, metrics: [null] },
      { format: 1, metrics: [{ ...first, values: [{ labels: {}, value: "7" }] }] },
      { format: 1, metrics: [{ ...first, values: [{ labels: {}, value: -1 }] }] },
      { format: 1, metrics: [{ ...first, name: "handoffd_unknown_total" }] },
      { format: 1, metrics: [{ ...first, type: "gauge" }] },
      { format: 1, metrics: [{ ...first, aggregator: "none" }] },
    ];
    for (const each of nonsense) {
      metrics.restore(each);
      expect(await counts(metrics), JSON.stringify(each)).toEqual(before);
    }
  });

  test("leave a histogram whose buckets have changed", async () => {
    const before = create();
    countAll(before);
    const { metrics: all, ...rest } = await before.export();
    const other = all.map((metric) => ({
      ...metric,
      values: metric.values.filter(({ labels }) => labels["le"] !== 0.25),
    }));
    const after = create();
    after.restore({ ...rest, metrics: other });
    const page = await lines(after);
    expect(page).toContain('handoffd_instance_restarts_total{service="api"} 1');
    expect(page.filter((line) => line.startsWith("handoffd_drain_duration_seconds_"))).toEqual([]);
  });
});

describe.skipIf(!hasPrometheus)("promtool check metrics", () => {
  function lint(page: string): { readonly code: number | null; readonly said: string } {
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], {
      input: page,
      encoding: "utf8",
    });
    return { code: status, said: stdout + stderr };
  }

  test("has nothing to say", async () => {
    const metrics = create();
    countAll(metrics);
    expect(lint(await metrics.page())).toEqual({ code: 0, said: "" });
    const second = create();
    second.restore(await metrics.export());
    expect(lint(await second.page())).toEqual({ code: 0, said: "" });
  });

  test("has something to say about the names of Node's metrics that are left out for it", () => {
    const refused = LEFT_OUT.filter((name) => {
      const page = `# HELP ${name} Something.\n# TYPE ${name} gauge\n${name} 1\n`;
      return lint(page).code !== 0;
    });
    expect(refused).toEqual(LEFT_OUT.filter((name) => name.endsWith("_total")));
  });
});
