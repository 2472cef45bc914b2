/** Text in columns for a terminal of a given width. */

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** Rows of cells, two spaces apart. Where a line would be too long, the widest columns give way with an ellipsis. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width = 80,
): string[] {
  const cells = rows.map((row) => row.map(plain));
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...cells.map((row) => (row[index] ?? "").length)),
  );
  const room = width - 2 * (columns.length - 1);
  for (let excess = sum(widths) - room; excess > 0; excess -= 1) {
    const widest = widths.indexOf(Math.max(...widths));
    widths[widest] = Math.max(1, (widths[widest] ?? 1) - 1);
  }
  const line = (row: readonly string[]) =>
    columns
      .map(({ align = "left" }, index) => {
        const space = widths[index] ?? 0;
        const cell = cut(row[index] ?? "", space);
        return align === "right" ? cell.padStart(space) : cell.padEnd(space);
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...cells.map(line)];
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
