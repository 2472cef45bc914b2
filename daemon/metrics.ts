/**
 * The daemon's metrics (docs/metrics.md). Counters move where the thing happens, through `Tally`; gauges read the truth when
 * they are scraped. Labels are bounded: names of the configuration, roles and states, never numbers of generations.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Status } from "../admin-api/schemas.ts";

const PHASE_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800];
const HANDOFF_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];

/** Where the descriptors came from: an image that was replaced, a keeper, or instances that had them. */
export type RecoverySource = "upgrade" | "keeper" | "fdstore" | "pidfd";

/** What the daemon's parts count. */
export interface Tally {
  descriptorsPassed(count: number): void;
  handedOff(seconds: number): void;
  exited(service: string, reason: "expected" | "unexpected"): void;
  restarted(service: string): void;
  verificationFailed(service: string): void;
  sampled(service: string, verdict: "good" | "bad" | "none"): void;
  drained(service: string, seconds: number): void;
  connectionsCut(service: string, count: number): void;
  deployEnded(service: string, strategy: string, result: string): void;
  phaseEnded(service: string, phase: string, seconds: number): void;
  historyFailed(): void;
  recovered(source: RecoverySource): void;
  upgraded(result: "succeeded" | "refused" | "failed"): void;
}

export interface Metrics extends Tally {
  readonly contentType: string;
  /** What the counters stand at, for a daemon that goes on with them. */
  export(): Promise<unknown>;
  /** Adds what `export` gave, of this version or another one. */
  restore(state: unknown): void;
  /** The page in Prometheus' text format, read now. */
  page(): Promise<string>;
}

/** `status` is asked once for each scrape. */
export function createMetrics(version: string, status: () => Status): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name: `handoffd_${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name: `handoffd_${name}`, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, buckets: number[], ...labelNames: L[]) =>
    new Histogram({ name: `handoffd_${name}`, help, buckets, labelNames, registers });

  gauge("build_info", "Always 1; the version of handoffd is in the label.", "version").set({ version }, 1);
  const queueLength = gauge(
    "listener_queue_length",
    "Connections that wait in a slot's accept queue.",
    "listener",
    "slot",
  );
  const queueLimit = gauge(
    "listener_queue_limit",
    "How many connections may wait in a slot's accept queue.",
    "listener",
    "slot",
  );
  const weight = gauge(
    "listener_weight_ratio",
    "Share of a listener's new connections by the role of the generation that gets them, 0..1.",
    "listener",
    "service",
    "role",
  );
  const instances = gauge(
    "service_instances",
    "Instances by the role of their generation and by state.",
    "service",
    "role",
    "state",
  );
  const connections = gauge(
    "service_connections",
    "Open connections by the role of the generation that serves them.",
    "service",
    "role",
  );
  const generation = gauge("service_generation", "Number of the generation in a role.", "service", "role");
  const inProgress = gauge("deploy_in_progress", "1 while a deploy of the service is under way.", "service");
  const deploys = counter("deploys_total", "Deploys that have ended.", "service", "strategy", "result");
  const phases = histogram(
    "deploy_phase_duration_seconds",
    "How long the phases of deploys took.",
    PHASE_BUCKETS,
    "service",
    "phase",
  );
  const handoffs = histogram(
    "handoff_duration_seconds",
    "From the spawn of an instance to its acknowledgement of the descriptors.",
    HANDOFF_BUCKETS,
  );
  const passed = counter("descriptors_passed_total", "Descriptors handed to instances.");
  const drains = histogram(
    "drain_duration_seconds",
    "How long generations took to finish their work and end.",
    PHASE_BUCKETS,
    "service",
  );
  const cuts = counter(
    "drain_cut_connections_total",
    "Connections that were open when a drain's time was over and its processes were killed.",
    "service",
  );
  const exits = counter("instance_exits_total", "Instances that have ended.", "service", "reason");
  const restarts = counter(
    "instance_restarts_total",
    "Instances that came back after an unexpected end.",
    "service",
  );
  const verifyFailures = counter(
    "verify_failures_total",
    "Candidates that did not pass verification.",
    "service",
  );
  const samples = counter(
    "analysis_samples_total",
    "Samples that analyses have taken of candidates; none: nothing could be read.",
    "service",
    "verdict",
  );
  const recoveries = counter(
    "recoveries_total",
    "Starts that went on with what another daemon had left, by where its descriptors came from.",
    "source",
  );
  const upgrades = counter("upgrades_total", "Upgrades of the daemon that were asked for.", "result");

  const historyFailures = counter(
    "history_write_failures_total",
    "Attempts to write the history of deploys that have failed; what waits is tried again.",
  );

  const read = (): void => {
    const now = status();
    for (const each of [queueLength, queueLimit, weight, instances, connections, generation, inProgress])
      each.reset();
    const roles = new Map<string, { service: string; role: string }>();
    for (const service of now.services) {
      inProgress.set({ service: service.name }, service.deploy === null ? 0 : 1);
      for (const each of service.generations) {
        const role = roleOf(service, each.number);
        roles.set(`${service.name}/${each.number}`, { service: service.name, role });
        if (role !== "draining") generation.set({ service: service.name, role }, each.number);
        if (each.connections !== null) connections.inc({ service: service.name, role }, each.connections);
        for (const { state } of each.instances) instances.inc({ service: service.name, role, state });
      }
    }
    for (const listener of now.listeners) {
      for (const slot of listener.slots) {
        const labels = { listener: listener.name, slot: String(slot.index) };
        queueLength.set(labels, slot.queue.length);
        queueLimit.set(labels, slot.queue.limit);
        const owner = slot.generation === null ? undefined : roles.get(slot.generation);
        if (owner !== undefined) weight.inc({ listener: listener.name, ...owner }, slot.weight);
      }
    }
  };

  return {
    contentType: registry.contentType,
    export: () => registry.getMetricsAsJSON(),
    restore: (state) => restoreCounters(registry, state),
    page: async () => {
      read();
      return registry.metrics();
    },
    descriptorsPassed: (count) => passed.inc(count),
    handedOff: (seconds) => handoffs.observe(seconds),
    exited: (service, reason) => exits.inc({ service, reason }),
    restarted: (service) => restarts.inc({ service }),
    verificationFailed: (service) => verifyFailures.inc({ service }),
    sampled: (service, verdict) => samples.inc({ service, verdict }),
    drained: (service, seconds) => drains.observe({ service }, seconds),
    connectionsCut: (service, count) => cuts.inc({ service }, count),
    deployEnded: (service, strategy, result) => deploys.inc({ service, strategy, result }),
    phaseEnded: (service, phase, seconds) => phases.observe({ service, phase }, seconds),
    recovered: (source) => recoveries.inc({ source }),
    historyFailed: () => historyFailures.inc(),
    upgraded: (result) => upgrades.inc({ result }),
  };
}

/** Counters only: what they stood at is added, where there still is such a counter. */
function restoreCounters(registry: Registry, state: unknown): void {
  for (const { name, values } of state as Awaited<ReturnType<Registry["getMetricsAsJSON"]>>) {
    const counter = registry.getSingleMetric(name);
    if (!(counter instanceof Counter)) continue;
    for (const { labels, value } of values) if (value > 0) counter.inc(labels, value);
  }
}

type Roles = Pick<Status["services"][number], "current" | "candidate" | "previous">;

/** The role of one of the service's generations. */
export function roleOf(service: Roles, number: number): "current" | "candidate" | "previous" | "draining" {
  if (number === service.current) return "current";
  if (number === service.candidate) return "candidate";
  if (number === service.previous) return "previous";
  return "draining";
}
