/** The dashboard of packaging/grafana as tests read it. */
import { readFileSync } from "node:fs";
import { root } from "./paths.ts";

interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat: string;
  readonly datasource: unknown;
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: unknown;
  readonly repeat?: string;
  readonly targets?: readonly Target[];
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly Readonly<Record<string, unknown>>[] };
  readonly annotations: {
    readonly list: readonly { readonly name: string; readonly expr: string; readonly textFormat: string }[];
  };
  readonly panels: readonly Panel[];
}

export const DASHBOARD = JSON.parse(
  readFileSync(`${root}/packaging/grafana/handoffd.json`, "utf8"),
) as Dashboard;

/** Every expression with where it stands and the labels that its legend names. */
export const QUERIES = [
  ...DASHBOARD.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ refId, expr, legendFormat }) => ({
      where: `panel "${title}", query ${refId}`,
      expr,
      legend: legendFormat,
    })),
  ),
  ...DASHBOARD.annotations.list.map(({ name, expr, textFormat }) => ({
    where: `annotation "${name}"`,
    expr,
    legend: textFormat,
  })),
];
