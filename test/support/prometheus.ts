/**
 * A real Prometheus (Debian's package) for a test, in a folder of its own, on a port that the kernel chose.
 *
 * ```ts
 * await using prometheus = await startPrometheus({ config: scrape("127.0.0.1:9100"), rules: [text] });
 * await prometheus.until("up == 1");
 * const [series] = await prometheus.query("handoffd_build_info");
 * ```
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { parse, stringify } from "yaml";
import { end, eventually, start, type Process, withDeadline } from "./processes.ts";

const READY_MS = 20_000;

/** Without it the tests that need it are skipped on a person's machine, and fail in CI. */
export const hasPrometheus =
  process.env["CI"] !== undefined || spawnSync("prometheus", ["--version"]).status === 0;
if (!hasPrometheus) console.warn("skipped: prometheus is missing (apt-get install prometheus)");

export interface PrometheusOptions {
  /** prometheus.yml, as text or as what it says. Its `rule_files` are `rules`, below. */
  readonly config: string | object;
  /** The texts of rule files. */
  readonly rules?: readonly string[];
}

/** One series of an instant vector. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Alert {
  readonly name: string;
  readonly state: "pending" | "firing";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export class Prometheus implements AsyncDisposable {
  /** "http://127.0.0.1:PORT" */
  readonly url: string;
  readonly #process: Process;
  readonly #folder: string;
  readonly #output: readonly string[];

  private constructor(url: string, process: Process, folder: string, output: readonly string[]) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
    this.#output = output;
  }

  /** For `startPrometheus`. */
  static async open({ config, rules = [] }: PrometheusOptions): Promise<Prometheus> {
    const folder = mkdtempSync(`${tmpdir()}/prometheus-`);
    const ruleFiles = rules.map((text, index) => {
      const file = `${folder}/rules-${index}.yml`;
      writeFileSync(file, text);
      return file;
    });
    const said = typeof config === "string" ? (parse(config) as object | null) : config;
    writeFileSync(`${folder}/prometheus.yml`, stringify({ ...said, rule_files: ruleFiles }));
    const program = startProgram(folder);
    const output: string[] = [];
    try {
      const url = `http://${await listening(program, output)}`;
      const prometheus = new Prometheus(url, program, folder, output);
      await eventually("a ready Prometheus", () => prometheus.#isReady(), READY_MS);
      return prometheus;
    } catch (error) {
      await end(program);
      rmSync(folder, { recursive: true, force: true });
      const message = `Prometheus does not start: ${String(error)}\n${output.slice(-20).join("\n")}`;
      throw new Error(message, { cause: error });
    }
  }

  /** An instant query: what the expression gives now. A scalar is one sample without labels. */
  async query(expression: string): Promise<readonly Sample[]> {
    const { resultType, result } = (await this.get(
      `/api/v1/query?query=${encodeURIComponent(expression)}`,
    )) as {
      readonly resultType: string;
      readonly result: unknown;
    };
    if (resultType === "scalar") {
      const [, value] = result as [number, string];
      return [{ metric: {}, value: toNumber(value) }];
    }
    if (resultType !== "vector") throw new Error(`${expression} is a ${resultType}`);
    return (result as { metric: Record<string, string>; value: [number, string] }[]).map(
      ({ metric, value: [, value] }) => ({ metric, value: toNumber(value) }),
    );
  }

  /** Waits until the expression gives something. */
  until(expression: string, timeoutMs = 20_000): Promise<readonly Sample[]> {
    return this.#eventually(
      `${expression} to give something`,
      async () => {
        const samples = await this.query(expression);
        return samples.length > 0 && samples;
      },
      timeoutMs,
    );
  }

  /** Those that are pending or firing now. */
  async alerts(): Promise<readonly Alert[]> {
    const { alerts } = (await this.get("/api/v1/alerts")) as {
      readonly alerts: readonly (Omit<Alert, "name"> & { readonly labels: { readonly alertname: string } })[];
    };
    return alerts.map(({ state, labels, annotations }) => ({
      name: labels.alertname,
      state,
      labels,
      annotations,
    }));
  }

  /** Waits until an alert of this name, and with these labels, fires. */
  untilFiring(
    name: string,
    labels: Readonly<Record<string, string>> = {},
    timeoutMs = 20_000,
  ): Promise<Alert> {
    const isIt = (alert: Alert): boolean =>
      alert.name === name &&
      alert.state === "firing" &&
      Object.entries(labels).every(([label, value]) => alert.labels[label] === value);
    return this.#eventually(
      `the alert ${name} to fire for ${JSON.stringify(labels)}`,
      async () => (await this.alerts()).find(isIt),
      timeoutMs,
    );
  }

  /** The `data` of an answer of its HTTP API. Throws what the answer says is wrong. */
  async get(path: string): Promise<unknown> {
    const response = await fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(10_000) });
    const answer = (await response.json()) as {
      readonly status: string;
      readonly error?: string;
      readonly data?: unknown;
    };
    if (answer.status !== "success") throw new Error(`GET ${path}: ${answer.error ?? response.statusText}`);
    return answer.data;
  }

  async stop(): Promise<void> {
    await end(this.#process);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #isReady(): Promise<boolean> {
    return (await fetch(`${this.url}/-/ready`, { signal: AbortSignal.timeout(10_000) })).ok;
  }

  async #eventually<T>(what: string, look: () => Promise<T>, timeoutMs: number) {
    try {
      return await eventually(what, look, timeoutMs);
    } catch (error) {
      const targets = JSON.stringify(await this.get("/api/v1/targets?state=active"));
      const message = `${String(error)}\ntargets: ${targets}\n${this.#output.slice(-10).join("\n")}`;
      throw new Error(message, { cause: error });
    }
  }
}

/** Starts Debian's `prometheus` with data, configuration and rules of its own. Dispose of it. */
export function startPrometheus(options: PrometheusOptions): Promise<Prometheus> {
  return Prometheus.open(options);
}

function startProgram(folder: string): Process {
  try {
    return start(
      "prometheus",
      [
        `--config.file=${folder}/prometheus.yml`,
        `--storage.tsdb.path=${folder}/data`,
        "--web.listen-address=127.0.0.1:0",
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
  } catch (error) {
    throw new Error("prometheus is missing: apt-get install prometheus", { cause: error });
  }
}

/** The address that it says it listens on. */
async function listening(process: Process, output: string[]): Promise<string> {
  const { stdout, stderr } = process.child;
  const said = new Promise<string>((resolve) => {
    for (const stream of [stdout, stderr]) {
      createInterface({ input: stream as Readable }).on("line", (line) => {
        output.push(line);
        const found = /msg="Listening on" address=(\S+)/u.exec(line);
        if (found?.[1] !== undefined) resolve(found[1]);
      });
    }
  });
  const ended = process.exit.then(({ code }) => Promise.reject(new Error(`it ended with ${String(code)}`)));
  return withDeadline(Promise.race([said, ended]), READY_MS, "the address that Prometheus listens on");
}

function toNumber(text: string): number {
  return text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
}
