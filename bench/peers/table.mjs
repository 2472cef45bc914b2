// The result of `peers` as Markdown: one line a system.
import { FAILURES } from "../support/load.mjs";
import { table } from "../support/table.mjs";

const HEAD = [
  "system",
  ...[
    "new: failed",
    "keep-alive: failed",
    "keep-alive, busy: failed",
    "streams: failed",
    "long-lived: ended",
  ],
  ...["p50 / p99 / p99.9 steady, ms", "in restarts, ms", "p99 ratio, new / keep-alive"],
  ...[
    "first answer, ms",
    "throughput, new",
    "throughput, keep-alive",
    "RSS / PSS, MiB",
    "idle CPU, ms in 10 s",
  ],
];

const WORKLOADS = {
  new: "new connections",
  keepalive: "keep-alive",
  busy: "keep-alive, busy",
  stream: "streams",
  idle: "long-lived",
};

export function markdown({ title, sizes, systems }) {
  const measured = systems.filter(({ failures }) => failures !== undefined);
  const missing = systems.filter((each) => each.missing !== null);
  const lines = [
    `### peers: ${title}`,
    "",
    ...table(HEAD, measured.map(cells)),
    "",
    `Failed requests are of ${sizes.restarts} restarts at rates that leave room, and of ${sizes.restarts} busy ones.`,
    ...kinds(measured),
    ...missing.map(({ name, missing: why }) => `Not measured: ${name}: ${why}.`),
    ...systems.flatMap(({ name, problems }) => problems.map((problem) => `${name}: ${problem}.`)),
  ];
  // One empty line at the end, whatever stands last: as prettier has it.
  return `${lines.join("\n").trimEnd()}\n`;
}

function cells(system) {
  const { failures, requests, longLived, latencyMs, firstAnswerMs, throughput, supervisor } = system;
  const { steady, restarts } = latencyMs.new;
  return [
    system.name,
    ...["new", "keepalive", "busy", "stream"].map((mode) => `${total(failures[mode])} of ${requests[mode]}`),
    `${longLived.ended + total(failures.idle)} of ${longLived.held}`,
    percentiles(steady),
    percentiles(restarts),
    ["new", "keepalive"].map((mode) => slower(latencyMs[mode])).join(" / "),
    firstAnswerMs.median.toFixed(0),
    share(throughput?.new),
    share(throughput?.keepalive),
    supervisor === undefined ? "" : `${supervisor.rssMiB.toFixed(0)} / ${supervisor.pssMiB.toFixed(0)}`,
    supervisor === undefined ? "" : supervisor.idleCpuMs.toFixed(1),
  ];
}

function total(counts) {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function percentiles({ p50, p99, p999 }) {
  return [p50, p99, p999].map((ms) => ms.toFixed(1)).join(" / ");
}

function slower({ steady, restarts }) {
  return (restarts.p99 / steady.p99).toFixed(1);
}

function share(ratio) {
  if (ratio === undefined) return "";
  return `${ratio.median.toFixed(2)} (${ratio.low.toFixed(2)} to ${ratio.high.toFixed(2)})`;
}

/** Who failed how: a line for each system that lost something. */
function kinds(systems) {
  const lines = systems.flatMap(({ name, failures }) => {
    const parts = Object.entries(failures).flatMap(([mode, counts]) =>
      Object.entries(counts).map(([kind, count]) => `${count} × ${FAILURES[kind]} (${WORKLOADS[mode]})`),
    );
    return parts.length === 0 ? [] : [`- ${name}: ${parts.join(", ")}`];
  });
  return lines.length === 0 ? [] : ["", ...lines, ""];
}
