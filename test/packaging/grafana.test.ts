/** packaging/grafana is what the code says, in a form that Grafana takes; that it shows something is test/e2e/dashboard.test.ts. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { createMetrics } from "../../daemon/metrics.ts";
import { SCENE } from "../daemon/scene.ts";
import { DASHBOARD, QUERIES } from "../support/dashboard.ts";
import { root } from "../support/paths.ts";

interface Generator {
  renderDashboard(): Promise<string>;
  renderDocs(docs: string): string;
}

const generator = (await import(`${root}/tools/generate-grafana.mjs`)) as Generator;
const docs = readFileSync(`${root}/docs/grafana.md`, "utf8");
const WAY_OUT = "run `node tools/generate-grafana.mjs --write`";
const panels = DASHBOARD.panels.filter(({ type }) => type !== "row");

describe("the dashboard", () => {
  test("is what tools/grafana-panels.mjs says", async () => {
    const shipped = readFileSync(`${root}/packaging/grafana/handoffd.json`, "utf8");
    expect(shipped === (await generator.renderDashboard()), WAY_OUT).toBe(true);
  });

  test("is described in docs/grafana.md, panel by panel, mark by mark", () => {
    expect(docs === generator.renderDocs(docs), WAY_OUT).toBe(true);
    const items = [...docs.matchAll(/^- \*\*(.+?)\*\*: (.+)$/gmu)].map(([, title, question]) => ({
      title,
      question,
    }));
    const shown = panels.map(({ title, description }) => ({ title, question: description }));
    expect(items.slice(0, shown.length)).toEqual(shown);
    expect(items.slice(shown.length).map(({ title }) => title)).toEqual(
      DASHBOARD.annotations.list.map(({ name }) => name),
    );
  });

  test("has the fields by which Grafana knows it, and variables for the datasource, the daemon and the service", () => {
    expect(DASHBOARD).toMatchObject({ uid: "handoffd", title: "handoffd", schemaVersion: 39 });
    const variables = DASHBOARD.templating.list.map(({ name, type }) => `${String(name)}: ${String(type)}`);
    expect(variables).toEqual(["datasource: datasource", "instance: query", "service: query"]);
    const used = [...JSON.stringify(DASHBOARD).matchAll(/\$\{?(\w+)/gu)].map(([, name = ""]) => name);
    const known = ["datasource", "instance", "service", "__rate_interval", "__range", "__all"];
    expect([...new Set(used)].sort()).toEqual(known.sort());
  });

  test("gives each panel a number, a question, a datasource and queries of its own", () => {
    const ids = DASHBOARD.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const titles = panels.map(({ title }) => title);
    expect(new Set(titles).size).toBe(titles.length);
    const datasource = { type: "prometheus", uid: "${datasource}" };
    for (const { title, description, targets = [], ...panel } of panels) {
      expect(description, title).toMatch(/\?/u);
      expect(panel.datasource, title).toEqual(datasource);
      expect(targets.length, title).toBeGreaterThan(0);
      expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length);
      for (const target of targets) expect(target.datasource, title).toEqual(datasource);
    }
  });

  test("puts no panel over another one, nor beyond the 24 columns", () => {
    const cells = new Map<string, string>();
    for (const {
      title,
      gridPos: { x, y, w, h },
    } of DASHBOARD.panels) {
      expect(x + w, title).toBeLessThanOrEqual(24);
      for (let column = x; column < x + w; column++) {
        for (let line = y; line < y + h; line++) {
          const cell = `${column}/${line}`;
          expect(cells.get(cell), `${title} and the other one at ${cell}`).toBeUndefined();
          cells.set(cell, title);
        }
      }
    }
  });

  test("shows every metric of the daemon, and none that it does not have", async () => {
    const page = await createMetrics("1.2.3", () => SCENE).page();
    const families = [...page.matchAll(/^# TYPE (\w+) (\w+)$/gmu)].map(([, name = "", type = ""]) => ({
      name,
      type,
    }));
    const used = new Set(
      QUERIES.flatMap(({ expr }) => expr.match(/(?:handoffd|process|nodejs)_\w+/gu) ?? []),
    );
    const series = families.flatMap(({ name, type }) =>
      type === "histogram" ? ["_bucket", "_sum", "_count"].map((suffix) => `${name}${suffix}`) : [name],
    );
    expect([...used].filter((name) => !series.includes(name))).toEqual([]);
    const unseen = families
      .map(({ name }) => name)
      .filter((name) => name.startsWith("handoffd_") && ![...used].some((each) => each.startsWith(name)));
    expect(unseen).toEqual([]);
  });
});
