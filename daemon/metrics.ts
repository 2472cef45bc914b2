/**
 * The daemon's metrics (docs/metrics.md). Counters and histograms move where the thing happens, through `Tally`; gauges read the
 * truth when they are scraped (metrics/gauges.ts). Labels are bounded: names of the configuration, roles, phases and
 * states, never numbers of generations or pids.
 */
import { Counter, Histogram, Registry } from "prom-client";
import { Carried, type MetricsRecord } from "./metrics/carried.ts";
import { createGauges, type Scene } from "./metrics/gauges.ts";
import { processMetrics } from "./metrics/process.ts";

const PHASE_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800];
const HANDOFF_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];

/** Phases of a deploy that last, in their order. */
const LASTING = ["starting", "verifying", "shifting", "baking", "draining", "rolling-back"];
const RESULTS = ["succeeded", "failed", "rolled-back", "aborted"];
const VERDICTS = ["good", "bad", "none"] as const;
const UPGRADES = ["succeeded", "refused", "failed"] as const;
const SOURCES = ["upgrade", "keeper", "fdstore", "pidfd"] as const;

/** Where the descriptors came from: an image that was replaced, a keeper, or instances that had them. */
export type RecoverySource = (typeof SOURCES)[number];

/** What the daemon's parts count. */
export interface Tally {
  /**
   * Shows what is counted for a service at 0 from now on, and its deploys by this strategy. A counter that appears with its
   * first event has not moved as far as Prometheus can see. Doing so twice is once.
   */
  expect(service: string, strategy: string): void;
  descriptorsPassed(count: number): void;
  handedOff(seconds: number): void;
  exited(service: string, reason: "expected" | "unexpected"): void;
  restarted(service: string): void;
  verificationFailed(service: string): void;
  /** `verdict`: none when nothing could be read. */
  sampled(service: string, verdict: (typeof VERDICTS)[number]): void;
  drained(service: string, seconds: number): void;
  connectionsCut(service: string, count: number): void;
  connectionsMoved(service: string, count: number): void;
  movesFailed(service: string, count: number): void;
  /** `code`: of the deploy's reason. */
  deployEnded(service: string, strategy: string, result: string, code: string | null): void;
  phaseEnded(service: string, phase: string, seconds: number): void;
  stateNotWritten(service: string): void;
  historyFailed(): void;
  recovered(source: RecoverySource): void;
  upgraded(result: (typeof UPGRADES)[number]): void;
}

export interface Metrics extends Tally {
  readonly contentType: string;
  /** The page in Prometheus' text format, read now. */
  page(): Promise<string>;
  /** What was counted so far, as JSON: for the daemon that takes this one's place while everything runs. */
  export(): Promise<MetricsRecord>;
  /** Goes on counting from an earlier daemon's `export()`. What does not fit begins at 0: no upgrade fails for its figures. */
  restore(record: unknown): void;
}

/** `look` is asked once for each scrape. */
export function createMetrics(version: string, look: () => Scene): Metrics {
  const present = new Registry();
  const counted = new Registry();
  const readGauges = createGauges(present, version);
  processMetrics(present);
  const carried = new Carried(counted);
  const registers = [counted];
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name: `handoffd_${name}`, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, buckets: number[], ...labelNames: L[]) =>
    new Histogram({ name: `handoffd_${name}`, help, buckets, labelNames, registers });

  const deploys = counter(
    "deploys_total",
    "Deploys that have ended, by how. Moves when the last phase does; any increase of failed or rolled-back is for someone to look at: handoffctl history has the reason.",
    "service",
    "strategy",
    "result",
  );
  const rollbacks = counter(
    "deploy_rollbacks_total",
    "Deploys that gave users back, by who wanted it: requested (someone) or automatic (exits, a queue, an analysis). After an automatic one see the reason in handoffctl history before the next try.",
    "service",
    "cause",
  );
  const phases = histogram(
    "deploy_phase_duration_seconds",
    "How long phases of deploys took, in seconds. Moves when a phase ends; what grows from deploy to deploy is the application's start, its health check or its drain.",
    PHASE_BUCKETS,
    "service",
    "phase",
  );
  const handoffs = histogram(
    "handoff_duration_seconds",
    "Seconds from the spawn of an instance to its acknowledgement of the descriptors. Some milliseconds; tenths mean that the host is short of CPU.",
    HANDOFF_BUCKETS,
  );
  const passed = counter(
    "descriptors_passed_total",
    "Descriptors of listeners handed to instances. Moves with every start of one.",
  );
  const drains = histogram(
    "drain_duration_seconds",
    "Seconds that generations took to finish their work and end. Near drain.timeout, connections are about to be cut: raise it, or see why the application does not end.",
    PHASE_BUCKETS,
    "service",
  );
  const cuts = counter(
    "drain_cut_connections_total",
    "Connections that were open when a drain's time was over and its processes were killed. Should stay 0: raise drain.timeout, or let the application end on drain.signal.",
    "service",
  );
  const moves = counter(
    "connections_moved_total",
    "Connections that went from a process that ended to one that goes on, without being closed. Moves with each deploy of an application that can (HELLO on its channel, as handoffd/app says it).",
    "service",
  );
  const failedMoves = counter(
    "connections_move_failed_total",
    "Connections that were to move and that nobody took: they stayed where they were and drained. Some while a successor dies are to be expected; growth with every deploy is for the application's log.",
    "service",
  );
  const exits = counter(
    "instance_exits_total",
    "Instances that have ended: expected (their generation was retired) or unexpected. See the application's output for the latter.",
    "service",
    "reason",
  );
  const restarts = counter(
    "instance_restarts_total",
    "Instances that were started again after an unexpected end. Steady growth is flapping: see the application's output.",
    "service",
  );
  const verifyFailures = counter(
    "verify_failures_total",
    "Candidates that did not pass verification. No user has met them; the deploy's reason has the probe's own words.",
    "service",
  );
  const samples = counter(
    "analysis_samples_total",
    "Samples that analyses have taken of candidates, by what they said; none: nothing could be read, so see whether the query's source answers.",
    "service",
    "verdict",
  );
  const notWritten = counter(
    "state_write_failures_total",
    "Times that the service's state could not be written. Deploys wait until it can be: see the space and the rights of the state directory.",
    "service",
  );
  const recoveries = counter(
    "recoveries_total",
    "Starts that went on with what another daemon had left, by where its descriptors came from. Users notice nothing; all but upgrade mean that it had died: see why.",
    "source",
  );
  const historyFailures = counter(
    "history_write_failures_total",
    "Times that the history of deploys could not be written. Deploys go on without it, and what waits is tried again: make room in the state directory.",
  );
  const upgrades = counter(
    "upgrades_total",
    "Times that the daemon was to be replaced while it ran: succeeded, refused (the new one cannot take over; nothing was done) or failed (the old one went on).",
    "result",
  );
  for (const source of SOURCES) recoveries.inc({ source }, 0);
  for (const result of UPGRADES) upgrades.inc({ result }, 0);

  const expected = new Set<string>();
  const expect = (service: string, strategy: string): void => {
    if (!expected.has(service)) {
      for (const phase of LASTING) phases.zero({ service, phase });
      drains.zero({ service });
      for (const reason of ["expected", "unexpected"]) exits.inc({ service, reason }, 0);
      for (const cause of ["requested", "automatic"]) rollbacks.inc({ service, cause }, 0);
      for (const verdict of VERDICTS) samples.inc({ service, verdict }, 0);
      for (const each of [cuts, moves, failedMoves, restarts, verifyFailures, notWritten])
        each.inc({ service }, 0);
    }
    for (const result of RESULTS) deploys.inc({ service, strategy, result }, 0);
    expected.add(service);
  };

  return {
    contentType: present.contentType,
    page: async () => {
      readGauges(look());
      return `${await present.metrics()}\n${await carried.page()}`;
    },
    export: () => carried.export(),
    restore: (record) => carried.restore(record),
    expect,
    descriptorsPassed: (count) => passed.inc(count),
    handedOff: (seconds) => handoffs.observe(seconds),
    exited: (service, reason) => exits.inc({ service, reason }),
    restarted: (service) => restarts.inc({ service }),
    verificationFailed: (service) => verifyFailures.inc({ service }),
    sampled: (service, verdict) => samples.inc({ service, verdict }),
    drained: (service, seconds) => drains.observe({ service }, seconds),
    connectionsCut: (service, count) => cuts.inc({ service }, count),
    connectionsMoved: (service, count) => moves.inc({ service }, count),
    movesFailed: (service, count) => failedMoves.inc({ service }, count),
    deployEnded: (service, strategy, result, code) => {
      deploys.inc({ service, strategy, result });
      if (result !== "rolled-back") return;
      rollbacks.inc({ service, cause: code === "DEPLOY_ROLLED_BACK" ? "requested" : "automatic" });
    },
    phaseEnded: (service, phase, seconds) => phases.observe({ service, phase }, seconds),
    stateNotWritten: (service) => notWritten.inc({ service }),
    historyFailed: () => historyFailures.inc(),
    recovered: (source) => recoveries.inc({ source }),
    upgraded: (result) => upgrades.inc({ result }),
  };
}
