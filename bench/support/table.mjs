// Results as Markdown, aligned so that a terminal shows them well too.

const HEAD = ["", "median", "p95", "ratio", "goal", "samples"];

function number(value) {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function cells(row) {
  const { unit } = row;
  return [
    row.name,
    `${number(row.median)} ${unit}`,
    `${number(row.p95)} ${unit}`,
    row.ratio === undefined ? "" : `${row.ratio.toFixed(2)} × ${row.of}${interval(row.ratioInterval)}`,
    goal(row),
    String(row.samples),
  ];
}

function interval(of) {
  return of === undefined ? "" : ` (${of.low.toFixed(2)} to ${of.high.toFixed(2)})`;
}

function goal({ goal: limit, goalRatio, unit, median, ratio }) {
  if (goalRatio !== undefined) return `≤ ${goalRatio} ×: ${ratio <= goalRatio ? "met" : "MISSED"}`;
  if (limit !== undefined) return `≤ ${limit} ${unit}: ${median <= limit ? "met" : "MISSED"}`;
  return "";
}

function line(row, widths) {
  return `| ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join(" | ")} |`;
}

/** The lines of a table, the first column to the left and the others to the right. */
export function table(head, rows) {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...rows].map((row) => [...row[column]].length)),
  );
  const rule = widths.map((width, column) =>
    column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`,
  );
  return [line(head, widths), `| ${rule.join(" | ")} |`, ...rows.map((row) => line(row, widths))];
}

/** One benchmark: its title and its table. */
export function markdown({ name, title, rows }) {
  return [`### ${name}: ${title}`, "", ...table(HEAD, rows.map(cells)), ""].join("\n");
}

export function machineMarkdown(facts) {
  const { cpu, cores, kernel, node, version, commit, loadAverage } = facts;
  return `handoffd ${version}${commit === null ? "" : ` (${commit})`}, Node ${node}, Linux ${kernel}, ${cores} × ${cpu}, load average ${loadAverage.toFixed(1)} before\n`;
}
