/** A report as text for people: at most 80 columns, but for what cannot be broken. */
import type { Deploy } from "../../admin-api/schemas.ts";
import { plain, table } from "../table.ts";
import { durationOf } from "./attribution.ts";
import type { Finding } from "./findings.ts";
import type { Report } from "./report.ts";

const WIDTH = 80;
const INDENT = "  ";

/** A line for each deploy as it has ended. */
export function progressLine(deploy: Deploy, index: number, wanted: number): string {
  const what = index === 0 ? "start" : `deploy ${index} of ${wanted}`;
  const took = deploy.finishedAt === null ? 0 : Date.parse(deploy.finishedAt) - Date.parse(deploy.startedAt);
  const ready = durationOf(deploy, "starting");
  const detail = deploy.phase === "succeeded" && ready !== null ? `, ready after ${seconds(ready)}` : "";
  return plain(`${what}: generation ${deploy.to} ${deploy.phase} in ${seconds(took)}${detail}`);
}

export function renderReport(report: Report): string {
  const { findings, notes, output } = report;
  return [
    [title(report)],
    loads(report),
    lost(report),
    ...findings.map(renderFinding),
    output.length === 0
      ? []
      : ["the application's last words:", ...output.map((line) => INDENT + plain(line))],
    notes.flatMap((note) => wrapped(`note: ${note}`, "", INDENT)),
  ]
    .filter((section) => section.length > 0)
    .map((section) => section.join("\n"))
    .join("\n\n");
}

function title({ service, file, strategy, deploys, findings }: Report): string {
  const tried = deploys.length - 1;
  const verdict = findings.length === 0 ? "clean" : counted(findings.length, "finding");
  return plain(`${service} in ${file}, ${strategy}, ${counted(tried, "deploy")}: ${verdict}`);
}

function loads({ loads }: Report): string[] {
  if (loads.length === 0) return [];
  const columns = [
    { title: "LISTENER" },
    { title: "LOAD" },
    { title: "CONNECTIONS", align: "right" },
    { title: "REQUESTS", align: "right" },
    { title: "SLOWEST", align: "right" },
    { title: "LOST", align: "right" },
  ] as const;
  const rows = loads.map(({ listener, load, connections, requests, slowestMs, lost }) => [
    listener,
    load,
    String(connections),
    String(requests),
    seconds(slowestMs),
    String(lost),
  ]);
  return table(columns, rows);
}

function lost({ lost }: Report): string[] {
  if (lost.length === 0) return [];
  const columns = [
    { title: "LOST", align: "right" },
    { title: "LISTENER" },
    { title: "LOAD" },
    { title: "HOW" },
    { title: "PHASE" },
    { title: "GENERATION" },
  ] as const;
  const rows = lost.map(({ listener, load, kind, phase, generation, count }) => [
    String(count),
    listener,
    load,
    kind,
    phase ?? "between deploys",
    generation ?? "?",
  ]);
  return table(columns, rows);
}

function renderFinding({ code, cause, seen, fix, lost }: Finding): string[] {
  const head = lost === 0 ? code : `${code}: ${counted(lost, "request")} lost`;
  return [
    head,
    ...wrapped(cause, INDENT),
    ...wrapped(`Seen: ${seen}`, INDENT),
    ...wrapped(`Fix: ${fix}`, INDENT),
  ];
}

/** Broken between words. */
function wrapped(text: string, first: string, indent = first): string[] {
  const lines: string[] = [];
  let line = first;
  for (const word of plain(text).split(" ")) {
    if (line.trim() !== "" && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = indent;
    }
    line += line.trim() === "" ? word : ` ${word}`;
  }
  return [...lines, line];
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
