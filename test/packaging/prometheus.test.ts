/** packaging/prometheus as promtool reads it; that each alert fires for a real cause is shown by test/e2e/alerts.test.ts. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { createMetrics } from "../../daemon/metrics.ts";
import { SCENE } from "../daemon/scene.ts";
import { root } from "../support/paths.ts";
import { hasPrometheus } from "../support/prometheus.ts";

const folder = `${root}/packaging/prometheus`;
const read = (name: string): string => readFileSync(`${folder}/${name}`, "utf8");

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

function rulesOf(name: string): Rule[] {
  const { groups } = parse(read(name)) as { readonly groups: readonly { readonly rules: readonly Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

const recorded = rulesOf("handoffd.rules.yml");
const alerts = rulesOf("handoffd.alerts.yml");

describe("the rules", () => {
  test("use only metrics that the daemon has", async () => {
    const page = await createMetrics("1.2.3", () => SCENE).page();
    const families = new Map(
      [...page.matchAll(/^# TYPE (\w+) (\w+)$/gmu)].map(([, name = "", type]) => [name, type]),
    );
    const isThere = (name: string): boolean =>
      name === "up" ||
      families.has(name) ||
      families.get(name.replace(/_(bucket|sum|count)$/u, "")) === "histogram";
    const used = [...recorded, ...alerts].flatMap(({ expr }) => [
      ...expr.matchAll(/(?<![:\w])(?:up|(?:handoffd|process|nodejs)_\w+)(?![:\w])/gu),
    ]);
    expect(used.length).toBeGreaterThan(15);
    expect(used.map(([name]) => name).filter((name) => !isThere(name))).toEqual([]);
  });

  test("keep the daemon's name: nothing is added up over daemons", () => {
    expect([...recorded, ...alerts].filter(({ expr }) => /\bby\s*\(/u.test(expr))).toEqual([]);
  });
});

describe("every alert", () => {
  test("has a severity, a summary, and a description that leads to its chapter of docs/alerts.md", () => {
    for (const { alert = "", labels, annotations } of alerts) {
      expect(labels, alert).toEqual({
        severity: expect.stringMatching(/^(critical|warning|info)$/u) as string,
      });
      expect(annotations?.["summary"], alert).toMatch(/\S.*\{\{ \$labels\.instance \}\}/u);
      expect(annotations?.["description"], alert).toMatch(
        new RegExp(`\\. See docs/alerts\\.md#${alert.toLowerCase()}$`, "u"),
      );
    }
  });

  test("has a chapter in docs/alerts.md, and no chapter is about another one", () => {
    const page = readFileSync(`${root}/docs/alerts.md`, "utf8");
    const chapters = [...page.matchAll(/^## (\w+)$/gmu)].map(([, title]) => title);
    expect(chapters.sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  test("is seen firing by the rules' own tests, and not firing there", () => {
    const { tests } = parse(read("handoffd.test.yml")) as {
      readonly tests: readonly {
        readonly promql_expr_test: readonly {
          readonly exp_samples: readonly { readonly labels: string }[];
        }[];
      }[];
    };
    const looks = tests.flatMap(({ promql_expr_test: each }) => each).map(({ exp_samples }) => exp_samples);
    expect(looks.filter((samples) => samples.length === 0).length).toBeGreaterThan(alerts.length);
    const fired = looks.flat().flatMap(({ labels }) => /alertname="(\w+)"/u.exec(labels)?.[1] ?? []);
    expect([...new Set(fired)].sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });
});

describe.skipIf(!hasPrometheus)("promtool", () => {
  function promtool(...args: string[]): { readonly code: number | null; readonly said: string } {
    const { status, stdout, stderr, error } = spawnSync("promtool", args, { cwd: folder, encoding: "utf8" });
    if (error !== undefined) throw error;
    return { code: status, said: stdout + stderr };
  }

  test("finds nothing wrong with the scrape configuration and the rules", () => {
    const { code, said } = promtool("check", "config", "--lint=all", "--lint-fatal", "handoffd.yml");
    expect({ code, said }).toMatchObject({ code: 0 });
    expect(said).toContain("2 rule files found");
  });

  test("sees every alert fire when it should, and only then", () => {
    expect(promtool("test", "rules", "handoffd.test.yml")).toMatchObject({ code: 0 });
  });

  test("would see an alert that fires too early", () => {
    const own = mkdtempSync(`${tmpdir()}/rules-`);
    try {
      for (const name of ["handoffd.rules.yml", "handoffd.test.yml"])
        writeFileSync(`${own}/${name}`, read(name));
      writeFileSync(`${own}/handoffd.alerts.yml`, read("handoffd.alerts.yml").replace("for: 5m", "for: 1m"));
      const { code, said } = promtool("test", "rules", `${own}/handoffd.test.yml`);
      expect({ code, said }).toEqual({
        code: 1,
        said: expect.stringContaining("HandoffdServiceDegraded") as string,
      });
    } finally {
      rmSync(own, { recursive: true });
    }
  });
});
