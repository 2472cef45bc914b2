/** docs/metrics.md says what the code says, and a scrape shows what is. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Status } from "../../admin-api/schemas.ts";
import { createMetrics } from "../../daemon/metrics.ts";
import { root } from "../support/paths.ts";

const status: Status = {
  version: "1.2.3",
  pid: 1,
  startedAt: new Date(0).toISOString(),
  upgrades: 0,
  listeners: [
    {
      name: "web",
      protocol: "tcp",
      address: "127.0.0.1:80",
      mode: "steered",
      slots: [
        { index: 0, generation: "api/3", weight: 0.95, queue: { length: 2, limit: 4096 } },
        { index: 1, generation: "api/4", weight: 0.05, queue: { length: 0, limit: 4096 } },
        { index: 2, generation: null, weight: 0, queue: { length: 0, limit: 4096 } },
      ],
    },
  ],
  services: [
    {
      name: "api",
      state: "running",
      current: 3,
      candidate: 4,
      previous: null,
      generations: [3, 4].map((number) => ({
        number,
        version: null,
        state: "serving" as const,
        weight: number === 3 ? 0.95 : 0.05,
        connections: number,
        startedAt: new Date(0).toISOString(),
        instances: [{ id: 1, pid: 99, state: "serving" as const, restarts: 0 }],
      })),
      deploy: null,
      held: null,
    },
  ],
};

function documented(): Map<string, { type: string; labels: string; help: string }> {
  const rows = readFileSync(`${root}/docs/metrics.md`, "utf8").matchAll(
    /^\| `(\w+)`\s+\| (\w+)\s+\| ([\w, ]*?)\s+\| (.*?)\s+\|$/gmu,
  );
  return new Map(
    [...rows].map(([, name = "", type = "", labels = "", help = ""]) => [name, { type, labels, help }]),
  );
}

function labelsOf(page: string, name: string): string {
  const series = new RegExp(`^${name}(?:_bucket)?\\{([^}]*)\\}`, "mu").exec(page)?.[1] ?? "";
  const labels = [...series.matchAll(/(\w+)="/gu)].map(([, label]) => label ?? "");
  return labels.filter((label) => label !== "le").join(", ");
}

test("docs/metrics.md has every metric with its type, labels and help, and none that does not exist", async () => {
  const metrics = createMetrics("1.2.3", () => status);
  metrics.exited("api", "expected");
  metrics.restarted("api");
  metrics.verificationFailed("api");
  metrics.sampled("api", "good");
  metrics.drained("api", 1);
  metrics.connectionsCut("api", 1);
  metrics.deployEnded("api", "blue-green", "succeeded");
  metrics.phaseEnded("api", "baking", 1);
  metrics.historyFailed();
  metrics.recovered("keeper");
  metrics.upgraded("succeeded");
  metrics.handedOff(0.001);
  const page = await metrics.page();
  const shown = new Map(
    [...page.matchAll(/^# HELP (\w+) (.*)\n# TYPE \1 (\w+)$/gmu)].map(
      ([, name = "", help = "", type = ""]) => [name, { type, labels: labelsOf(page, name), help }],
    ),
  );
  // Labels are compared as sets: their order on the page is the registry's.
  const sorted = (all: ReturnType<typeof documented>) =>
    Object.fromEntries(
      [...all].map(([name, each]) => [name, { ...each, labels: each.labels.split(", ").sort().join(", ") }]),
    );
  expect(sorted(shown)).toEqual(sorted(documented()));
});

test("a scrape shows weights, queues, connections and instances by role, as they are then", async () => {
  const page = await createMetrics("1.2.3", () => status).page();
  const lines = page.split("\n");
  expect(lines).toEqual(
    expect.arrayContaining([
      'handoffd_listener_weight_ratio{listener="web",service="api",role="current"} 0.95',
      'handoffd_listener_weight_ratio{listener="web",service="api",role="candidate"} 0.05',
      'handoffd_listener_queue_length{listener="web",slot="0"} 2',
      'handoffd_service_connections{service="api",role="candidate"} 4',
      'handoffd_service_instances{service="api",role="current",state="serving"} 1',
      'handoffd_service_generation{service="api",role="current"} 3',
      'handoffd_deploy_in_progress{service="api"} 0',
    ]),
  );
});
