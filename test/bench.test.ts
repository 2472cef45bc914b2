import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { root } from "./support/paths.ts";
import { environment, start, withDeadline } from "./support/processes.ts";

interface Row {
  readonly name: string;
  readonly unit: string;
  readonly samples: number;
  readonly median: number;
  readonly p95: number;
  readonly ratio?: number;
}

interface Figures {
  readonly quick: boolean;
  readonly machine: Readonly<Record<string, unknown>>;
  readonly benchmarks: readonly { readonly name: string; readonly rows: readonly Row[] }[];
}

interface PeerResult {
  readonly name: string;
  readonly problems: readonly string[];
  readonly failures: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly requests: Readonly<Record<string, number>>;
  readonly latencyMs: Readonly<Record<"new" | "keepalive", Record<"steady" | "restarts", { p99: number }>>>;
  readonly throughput: Readonly<Record<"new" | "keepalive", { median: number }>>;
  readonly supervisor: { readonly rssMiB: number; readonly pssMiB: number };
  readonly firstAnswerMs: { readonly median: number };
}

async function bench(...args: string[]): Promise<{ code: number | null; said: string }> {
  const run = start(process.execPath, [`${root}/bench/main.mjs`, ...args], {
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { stdout, stderr } = run.child;
  const read = Promise.all([run.exit, text(stdout as Readable), text(stderr as Readable)]);
  try {
    const [{ code }, out, err] = await withDeadline(read, 150_000, `the benchmark ${args.join(" ")}`);
    return { code, said: out + err };
  } finally {
    run.kill("SIGKILL");
  }
}

async function figuresOf(name: string): Promise<{ said: string; figures: Figures }> {
  const folder = mkdtempSync(`${tmpdir()}/hd-bench-test-`);
  try {
    const { code, said } = await bench(name, "--quick", "--json", `${folder}/figures.json`);
    expect({ code, said }).toMatchObject({ code: 0 });
    return { said, figures: JSON.parse(readFileSync(`${folder}/figures.json`, "utf8")) as Figures };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// Whether it works, not how fast: nothing here looks at a time.
describe("npm run bench", { timeout: 160_000 }, () => {
  it.each([
    ["descriptor", "µs", 10],
    ["spawn", "ms", 2],
    ["weight", "µs", 2],
    ["steering", "µs", 10],
    ["deploy", "ms", 10],
    ["cli", "ms", 2],
    ["scrape", "ms", 4],
  ])("measures %s and prints what it measured", async (name, unit, count) => {
    const { said, figures } = await figuresOf(name);
    expect(figures).toMatchObject({
      quick: true,
      machine: {
        node: process.version,
        kernel: expect.any(String) as string,
        cores: expect.any(Number) as number,
      },
    });
    expect(figures.benchmarks.map((each) => each.name)).toEqual([name]);
    const rows = figures.benchmarks.flatMap((each) => each.rows);
    expect(rows.map((row) => row.unit)).toEqual(Array<string>(count).fill(unit));
    for (const row of rows) {
      expect(row.samples, row.name).toBeGreaterThan(0);
      expect(Number.isFinite(row.median) && Number.isFinite(row.p95), row.name).toBe(true);
      expect(said).toContain(`| ${row.name}`);
    }
  });

  it("compares one service alone and among many, past the limit of descriptors in a message", async () => {
    const { figures } = await figuresOf("scale");
    const rows = figures.benchmarks.flatMap((each) => each.rows);
    const names = rows.map(({ name }) => name);
    expect(names).toContain("start, 270 listeners and 20 services");
    for (const what of ["status", "metrics", "deploy, request → first user"])
      expect(rows.find(({ name }) => name === `${what}, among 20 services`)?.ratio, what).toBeGreaterThan(0);
    // An upgrade in which a service did not survive, or a request that failed, fails the benchmark.
    expect(names).toContain("upgrade, among");
  });

  it("weighs an idle daemon beside the least that a process with its libraries can be", async () => {
    const { figures } = await figuresOf("footprint");
    const rows = new Map(figures.benchmarks.flatMap((each) => each.rows).map((row) => [row.name, row]));
    const of = (name: string): number => rows.get(name)?.median ?? Number.NaN;
    expect(of("RSS: the daemon, with metrics and API asked")).toBeGreaterThan(of("PSS: the daemon"));
    expect(of("RSS: a bare Fastify, pino and prom-client, asked")).toBeGreaterThan(20);
    expect(of("RSS: its keeper")).toBeLessThan(5);
    expect(of("from its start until its listener takes connections")).toBeGreaterThan(0);
  });

  it("restarts systems side by side under four loads, and says what each lost", async () => {
    const { said, figures } = await figuresOf("peers");
    const [{ systems }] = figures.benchmarks as unknown as [{ systems: readonly PeerResult[] }];
    expect(systems.map(({ name, problems }) => ({ name, problems }))).toEqual([
      { name: "handoffd", problems: [] },
      { name: "node:cluster", problems: [] },
    ]);
    for (const { name, requests, latencyMs, throughput, supervisor, firstAnswerMs } of systems) {
      for (const workload of ["new", "keepalive", "stream", "idle", "busy"])
        expect(requests[workload], `${name}, ${workload}`).toBeGreaterThan(0);
      const all = [latencyMs.new.steady.p99, latencyMs.keepalive.restarts.p99, firstAnswerMs.median];
      for (const ms of all) expect(ms, name).toBeGreaterThan(0);
      expect(throughput.new.median, name).toBeGreaterThan(0);
      expect(supervisor.rssMiB, name).toBeGreaterThan(supervisor.pssMiB);
      expect(said).toContain(`| ${name} `);
    }
    // handoffd itself refuses, resets and cuts nothing; what the application closes under a kept connection is its own.
    expect(systems[0]?.failures).toMatchObject({ new: {}, stream: {} });
  });

  it("has made the tables of docs/performance.md of the results that are kept", async () => {
    expect(await bench("document")).toEqual({ code: 0, said: "" });
    const shown = readFileSync(`${root}/docs/performance.md`, "utf8");
    for (const name of ["footprint", "instructions"]) expect(shown).toContain(`<!-- bench ${name} -->`);
  });

  describe("comparing two results", () => {
    const machine = { cpu: "x", cores: 2, kernel: "6", node: "v20" };
    const time = (median: number, low: number, high: number): object => ({
      name: "time",
      unit: "ms",
      median,
      low,
      high,
    });
    const count = (median: number): object => ({ name: "count", unit: "instructions", median, exact: true });
    const share = (median: number, low: number, high: number): object => ({
      name: "peers",
      systems: [{ name: "handoffd", throughput: { new: { median, low, high } } }],
    });

    async function compared(
      old: unknown,
      now: unknown,
    ): Promise<{ code: number | null; verdicts: string[] }> {
      const folder = mkdtempSync(`${tmpdir()}/hd-bench-test-`);
      try {
        writeFileSync(`${folder}/old.json`, JSON.stringify(old));
        writeFileSync(`${folder}/new.json`, JSON.stringify(now));
        const { code, said } = await bench("compare", `${folder}/old.json`, `${folder}/new.json`);
        return {
          code,
          verdicts: [...said.matchAll(/(\w+) \|$/gmu)].map(([, verdict = ""]) => verdict).slice(1),
        };
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
    const result = (...rows: object[]): object => ({ machine, benchmarks: [{ name: "one", rows }] });

    it("takes for noise what is near, and what is uncertain", async () => {
      const old = result(time(10, 9, 11));
      const news = [
        time(10.9, 10, 12),
        time(13, 10.5, 20),
        time(10.5, 10.4, 10.6),
        time(14, 12, 16),
        time(5, 4, 6),
      ];
      const verdicts = await Promise.all(
        news.map(async (row) => (await compared(old, result(row))).verdicts[0]),
      );
      expect(verdicts).toEqual(["same", "same", "same", "more", "less"]);
    });

    it("fails for more instructions, by little, and for nothing else", async () => {
      expect(await compared(result(count(1000)), result(count(1019)))).toEqual({
        code: 0,
        verdicts: ["same"],
      });
      expect(await compared(result(count(1000)), result(count(900)))).toEqual({
        code: 0,
        verdicts: ["less"],
      });
      expect(await compared(result(count(1000)), result(count(1021)))).toEqual({
        code: 1,
        verdicts: ["more"],
      });
      expect((await compared(result(time(1, 1, 1)), result(time(9, 9, 9)))).code).toBe(0);
    });

    it("compares only ratios and instructions of two machines", async () => {
      const other = { machine: { ...machine, cpu: "y" }, benchmarks: [share(0.8, 0.79, 0.81)] };
      expect(await compared({ machine, benchmarks: [share(0.99, 0.98, 1)] }, other)).toEqual({
        code: 0,
        verdicts: ["less"],
      });
      const { verdicts } = await compared(result(time(1, 1, 1), count(10)), {
        machine: { ...machine, cpu: "y" },
        benchmarks: [{ name: "one", rows: [time(9, 9, 9), count(10)] }],
      });
      expect(verdicts).toEqual(["incomparable", "same"]);
    });
  });

  it("names the benchmarks that there are when it is asked for another", async () => {
    expect(await bench("speed")).toEqual({
      code: 2,
      said: "no such benchmark: speed (there are descriptor, spawn, weight, steering, deploy, cli, scrape, instructions, footprint, scale, peers, handoff; and npm run soak -- NAME)\n",
    });
  });
});
