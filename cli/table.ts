/** Text in columns for a terminal of a given width. */
import { type Look, PLAIN, type Tone } from "./look.ts";

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** The colour of a cell, by its text. */
  readonly tone?: (cell: string) => Tone | null;
  /** Where the titles alone do not fit, columns go: those with the lowest number first, those without one never. */
  readonly leaves?: number;
}

const GAP = "  ";

/** Rows of cells, two spaces apart. Where a line would be too long, the widest columns give way with an ellipsis. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { columns: width, paint }: Look = PLAIN,
): string[] {
  const shown = fitting(columns, width);
  const head = shown.map(({ title }) => title);
  const cells = rows.map((row) => shown.map(({ index }) => plain(row[index] ?? "")));
  const widths = widthsOf([head, ...cells], width);
  const line = (row: readonly string[], toneOf: (column: Column, cell: string) => Tone | null): string =>
    shown
      .map((column, index) => {
        const space = widths[index] ?? 0;
        const cell = cut(row[index] ?? "", space);
        const tone = toneOf(column, cell);
        const painted = tone === null ? cell : paint(tone, cell);
        const padding = " ".repeat(space - cell.length);
        if (column.align === "right") return padding + painted;
        return index === shown.length - 1 ? painted : painted + padding;
      })
      .join(GAP)
      .trimEnd();
  return [
    line(head, () => "title"),
    ...cells.map((row) => line(row, ({ tone }, cell) => tone?.(cell) ?? null)),
  ];
}

/** The columns whose titles fit, each with its place in the rows. */
function fitting(
  columns: readonly Column[],
  width: number,
): readonly (Column & { readonly index: number })[] {
  let shown = columns.map((column, index) => ({ ...column, index }));
  while (sum(shown.map(({ title }) => title.length)) > roomIn(width, shown.length)) {
    const leaving = shown.filter(({ leaves }) => leaves !== undefined);
    if (leaving.length === 0) break;
    const first = Math.min(...leaving.map(({ leaves = 0 }) => leaves));
    shown = shown.filter(({ leaves }) => leaves !== first);
  }
  return shown;
}

function widthsOf(lines: readonly (readonly string[])[], width: number): number[] {
  const widths = (lines[0] ?? []).map((_, index) =>
    Math.max(...lines.map((line) => (line[index] ?? "").length)),
  );
  for (let excess = sum(widths) - roomIn(width, widths.length); excess > 0; excess -= 1) {
    const widest = widths.indexOf(Math.max(...widths));
    widths[widest] = Math.max(1, (widths[widest] ?? 1) - 1);
  }
  return widths;
}

/** What the gaps between so many columns leave. */
function roomIn(width: number, columns: number): number {
  return width - GAP.length * (columns - 1);
}

/** Names and messages come from applications and files: nothing in them may steer the terminal. */
export function plain(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}

export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
