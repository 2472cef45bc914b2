/** What Node's process says of itself: prom-client's own metrics, those that Prometheus' linter accepts. */
import { collectDefaultMetrics, type Registry } from "prom-client";

/** The longest that a timer takes: longer than the daemon lives. */
const NEVER_MS = 2 ** 31 - 1;

/** Left out. `promtool check metrics` refuses the names of gauges that end in _total. */
export const LEFT_OUT: readonly string[] = [
  "nodejs_active_resources_total",
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  // These say with undocumented means what nodejs_active_resources says with a documented one.
  "nodejs_active_handles",
  "nodejs_active_requests",
  // These need a timer that wakes an idle daemon a hundred times a second (measured: 0.5 % of a CPU for nothing).
  ...["min", "max", "mean", "stddev", "p50", "p90", "p99"].map(
    (name) => `nodejs_eventloop_lag_${name}_seconds`,
  ),
];

export function processMetrics(register: Registry): void {
  collectDefaultMetrics({ register, eventLoopMonitoringPrecision: NEVER_MS });
  for (const name of LEFT_OUT) register.removeSingleMetric(name);
}
