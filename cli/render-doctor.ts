/** What the doctor has found, as text for people: the worst first, each with what to do. */
import type { Diagnosis, Finding } from "../admin-api/schemas.ts";
import { type Look, PLAIN, type Tone } from "./look.ts";
import { plain } from "./table.ts";
import { wrap } from "./wrap.ts";

type Verdict = Finding["verdict"];

const TONES: Readonly<Record<Verdict, Tone>> = { problem: "bad", warning: "busy", note: "title", ok: "good" };
const WORST_FIRST: readonly Verdict[] = ["problem", "warning", "note", "ok"];
const SEEN_BY: Readonly<Record<Diagnosis["seenBy"], string>> = {
  daemon: "as the daemon sees it",
  host: "as it is seen from here: no daemon was asked",
};

/** `all`: what is as it should be, too. */
export function renderDiagnosis({ findings, seenBy }: Diagnosis, all: boolean, look: Look = PLAIN): string {
  const shown = WORST_FIRST.filter((verdict) => all || verdict !== "ok");
  const blocks = shown.flatMap((verdict) =>
    findings
      .filter((finding) => finding.verdict === verdict)
      .flatMap((finding) => renderFinding(finding, look)),
  );
  const counts = WORST_FIRST.flatMap((verdict) => {
    const count = findings.filter((finding) => finding.verdict === verdict).length;
    return count === 0 ? [] : [verdict === "ok" ? `${count} fine` : counted(count, verdict)];
  });
  const hint = all ? "" : " (--all shows each)";
  return [...blocks, ...wrap(`${counts.join(", ")}, ${SEEN_BY[seenBy]}${hint}`, look.columns)].join("\n");
}

function renderFinding(
  { check, verdict, finding, fix }: Finding,
  { columns, paint }: Look,
): readonly string[] {
  const head = `${paint(TONES[verdict], verdict.padEnd(7))}  ${plain(check)}`;
  if (fix === null) return [head, ...indented(finding, columns)];
  return [head, ...indented(finding, columns), ...indented(`fix: ${fix}`, columns), ""];
}

function indented(text: string, columns: number): readonly string[] {
  return wrap(`  ${plain(text)}`, columns, "  ");
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
