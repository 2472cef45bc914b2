/** Every expression of the dashboard and of the rules gives data from a real Prometheus that scrapes a real daemon while it deploys. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { type Daemon, startDaemon } from "../support/daemon.ts";
import { QUERIES } from "../support/dashboard.ts";
import { SilentClients } from "../support/net.ts";
import { root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { killOne } from "../support/processes.ts";
import { hasPrometheus, openBridge, type Prometheus, startPrometheus } from "../support/prometheus.ts";
import { install } from "../support/stage.ts";

const RULES = readFileSync(`${root}/packaging/prometheus/handoffd.rules.yml`, "utf8");
const RECORDED = (
  parse(RULES) as {
    readonly groups: readonly { readonly rules: readonly { record: string; expr: string }[] }[];
  }
).groups.flatMap(({ rules }) => rules);

/** What Grafana would put in. The run takes some twenty seconds, scraped every second. */
function filledIn(expression: string): string {
  return expression
    .replaceAll("$__rate_interval", "4s")
    .replaceAll("$__range", "1m")
    .replaceAll("$instance", ".*")
    .replaceAll("$service", ".*");
}

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [at: number, value: string])[];
}

/** Series with a number that is one, at any time since `startedAt`. */
async function dataOf(
  prometheus: Prometheus,
  expression: string,
  startedAt: number,
): Promise<readonly Series[]> {
  const query = new URLSearchParams({
    query: filledIn(expression),
    start: String(startedAt / 1000),
    end: String(Date.now() / 1000),
    step: "1",
  });
  const { result } = (await prometheus.get(`/api/v1/query_range?${query.toString()}`)) as {
    readonly result: readonly Series[];
  };
  return result.filter(({ values }) => values.some(([, value]) => Number.isFinite(Number(value))));
}

const labelsOf = (legend: string): string[] =>
  [...legend.matchAll(/\{\{(\w+)\}\}/gu)].map(([, name = ""]) => name);

test.skipIf(!hasPrometheus)(
  "every expression of the dashboard and of the rules gives data while a daemon deploys",
  { timeout: 120_000 },
  async () => {
    const all = mkdtempSync(`${tmpdir()}/releases-`);
    onTestFinished(() => rmSync(all, { recursive: true, force: true }));
    install(all, "good", { program: "polite.mjs" });
    install(all, "unhealthy", { program: "health-500.mjs" });
    install(all, "dying", { program: "ready-then-dies.py", environment: { DIE_WHEN: `${all}/die` } });
    install(all, "stubborn", { program: "ignores-sigterm.mjs" });
    await using daemon = await startDaemon({
      config: {
        listeners: { web: { address: "tcp:127.0.0.1:0" } },
        services: {
          api: {
            command: ["./run"],
            directory: `${all}/{version}`,
            version: "good",
            listeners: ["web"],
            verify: [{ http: { path: "/healthz" }, timeout: "1s" }, { command: ["./smoke"] }],
            deploy: { bake: "3s", watch: { exits: 1 } },
            drain: { settle: "100ms", timeout: "2s" },
            restart: { backoff: "20ms..20ms" },
          },
        },
      },
    });
    await using bridge = await openBridge(daemon.socket);
    await using prometheus = await startPrometheus({
      config: {
        global: { scrape_interval: "1s", evaluation_interval: "1s" },
        scrape_configs: [{ job_name: "handoffd", static_configs: [{ targets: [bridge.address] }] }],
      },
      rules: [RULES],
    });
    const startedAt = Date.now();
    await prometheus.until('count_over_time(up{job="handoffd"}[1m]) >= 2');
    using _idle = await SilentClients.open(3, addressOf(await daemon.status(), "web").where);
    await live(daemon, all);
    await prometheus.until("handoffd_recoveries_total == 1");

    const empty: string[] = [];
    const unnamed: string[] = [];
    for (const { where, expr, legend } of QUERIES) {
      const series = await dataOf(prometheus, expr, startedAt);
      if (series.length === 0) empty.push(`${where}: ${expr}`);
      for (const label of labelsOf(legend)) {
        if (!series.every(({ metric }) => label in metric)) unnamed.push(`${where} has no ${label}: ${expr}`);
      }
    }
    for (const { record, expr } of RECORDED) {
      for (const each of [record, expr]) {
        if ((await dataOf(prometheus, each, startedAt)).length === 0) empty.push(`rule ${record}: ${each}`);
      }
    }
    expect({ empty, unnamed }).toEqual({ empty: [], unnamed: [] });
  },
);

/** Everything that happens to a service: deploys that go well and that do not, an end that nobody wanted, a daemon that dies. */
async function live(daemon: Daemon, all: string): Promise<void> {
  // Long enough for a scrape to see a candidate with a share.
  const body = { strategy: "canary", steps: [{ weight: "50%", for: "2s" }] };
  expect((await daemon.deploy("stubborn", { body })).phase).toBe("succeeded");
  expect((await daemon.deploy("unhealthy")).phase).toBe("failed");
  const { id } = await daemon.deploy("dying", { until: ["baking"] });
  writeFileSync(`${all}/die`, "");
  expect((await daemon.untilDeploy(id)).phase).toBe("rolled-back");
  using _idle = await SilentClients.open(2, addressOf(await daemon.status(), "web").where);
  await daemon.deploy("good"); // Its drain is a long one, and what is idle then is cut.
  const pid = (await daemon.service()).generations.find(({ state }) => state === "serving")?.instances[0]
    ?.pid;
  if (pid === undefined) throw new Error("nobody serves");
  killOne(pid);
  await daemon.until("another instance", ({ services: [api] }) =>
    api?.generations.some(({ instances: [one] }) => one?.state === "serving" && one.pid !== pid),
  );
  daemon.kill("SIGKILL");
  await daemon.exit;
  await daemon.restart();
}
