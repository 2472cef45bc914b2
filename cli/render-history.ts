/** The deploys so far, as text for people. */
import type { Deploy, GenerationEvidence, Phase } from "../admin-api/schemas.ts";
import { age, span } from "./duration.ts";
import { type Look, PLAIN, type Tone } from "./look.ts";
import { phaseTone } from "./render-deploy.ts";
import { plain, table } from "./table.ts";

/** What is left of a line for a detail of the history: ids are as long as the service's name. */
const DETAIL_COLUMNS = 62;

export function renderHistory(deploys: readonly Deploy[], now: number, look: Look = PLAIN): string {
  if (deploys.length === 0) return "no deploys";
  const columns = [
    { title: "DEPLOY" },
    { title: "SERVICE", leaves: 3 },
    { title: "VERSION" },
    { title: "GENERATION", leaves: 4 },
    { title: "RESULT", tone: resultTone },
    { title: "AGO", align: "right" },
    { title: "TOOK", align: "right", leaves: 1 },
    { title: "BY", leaves: 2 },
  ] as const;
  const rows = deploys.map((deploy) => [
    deploy.id,
    deploy.service,
    deploy.version ?? "-",
    `${deploy.from ?? "-"} -> ${deploy.to}`,
    deploy.phase,
    age(deploy.startedAt, now),
    deploy.finishedAt === null ? "-" : age(deploy.startedAt, Date.parse(deploy.finishedAt)),
    deploy.requestedBy,
  ]);
  return [...table(columns, rows, look), ...deploys.flatMap(renderDetails)].join("\n");
}

/** Below the table: how long each phase took, what became of connections, and why it ended so. */
function renderDetails({ id, phases, evidence, reason }: Deploy): readonly string[] {
  const took = phases.flatMap(({ phase, startedAt, finishedAt }) =>
    finishedAt === null || finishedAt === startedAt
      ? []
      : [`${phase} ${span(Date.parse(finishedAt) - Date.parse(startedAt))}`],
  );
  const generations = [evidence?.previous, evidence?.candidate].flatMap((each) =>
    each === undefined || each === null ? [] : renderEvidence(each),
  );
  const lines = [
    ...(took.length === 0 ? [] : wrapped(took.join(", "))),
    ...generations.flatMap(wrapped),
    ...(reason === null ? [] : [reason.message]),
  ];
  return lines.length === 0 ? [] : ["", ...lines.map((line) => plain(`${id}: ${line}`))];
}

function renderEvidence(evidence: GenerationEvidence): readonly string[] {
  const { generation, atShift, peak, atEnd, moved = null, cut, endedBy } = evidence;
  const known = [
    [atShift, "when traffic moved"],
    [peak, "at most"],
    [atEnd, "when told to end"],
    [moved, "moved"],
    [cut, "cut"],
  ] as const;
  const counts = known.flatMap(([count, when]) => (count === null ? [] : [`${count} ${when}`]));
  const ended = endedBy === null ? [] : [`ended by ${endedBy}`];
  const words = [...counts, ...ended];
  return words.length === 0 ? [] : [`connections of generation ${generation}: ${words.join(", ")}`];
}

/** At commas, in lines that fit behind a deploy's id. */
function wrapped(text: string): readonly string[] {
  const lines: string[] = [];
  for (const part of text.split(", ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + part.length < DETAIL_COLUMNS)
      lines.push(`${lines.pop() ?? ""}, ${part}`);
    else lines.push(last === undefined ? part : `  ${part}`);
  }
  return lines;
}

/** By the word as it stands in a cell, which may be cut. */
function resultTone(result: string): Tone | null {
  return result.endsWith("…") ? null : phaseTone(result as Phase);
}
