/** packaging/prometheus, read by a real Prometheus that scrapes a real daemon. */
import { expect, test } from "vitest";
import { startDaemon } from "../support/daemon.ts";
import { oneService } from "../support/one-service.ts";
import { openBridge, startPrometheus } from "../support/prometheus.ts";

test("a real Prometheus scrapes a real daemon", async () => {
  await using daemon = await startDaemon({ config: oneService() });
  await using bridge = await openBridge(daemon.socket);
  await using prometheus = await startPrometheus({
    config: {
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      scrape_configs: [{ job_name: "handoffd", static_configs: [{ targets: [bridge.address] }] }],
    },
    rules: [JSON.stringify({ groups: [{ name: "up", rules: [{ alert: "Up", expr: "up == 1" }] }] })],
  });
  await prometheus.until('up{job="handoffd"} == 1');
  expect(await prometheus.query("handoffd_service_generation")).toMatchObject([
    { metric: { service: "api", role: "current" }, value: 1 },
  ]);
  expect(await prometheus.query("vector(1)")).toMatchObject([{ value: 1 }]);
  expect(await prometheus.untilFiring("Up")).toMatchObject({ labels: { job: "handoffd" } });
  await expect(prometheus.query("nonsense(")).rejects.toThrow("parse error");
});
