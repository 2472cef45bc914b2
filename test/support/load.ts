/**
 * The load generator (bench/load) from tests: what the clients saw, counted.
 *
 * ```ts
 * const load = startLoad({ target, mode: "keepalive", connections: 32, thinkMs: [0, 20] });
 * await load.started;
 * await deploy("2");
 * await load.sawGeneration(2);
 * expect(lost(await load.stop())).toEqual({ refused: 0, reset: 0, cut: 0, late: 0 });
 * ```
 */
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { root } from "./paths.ts";
import { start, type Exit, type Process } from "./processes.ts";

const source = `${root}/bench/load`;
const binary = `${root}/build/load`;

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Compiles bench/load into build/load when a source is newer. Returns the program's path. */
export async function buildLoad(): Promise<string> {
  const files = readdirSync(source).map((name) => `${source}/${name}`);
  if (modified(binary) > Math.max(...files.map(modified))) return binary;
  mkdirSync(`${root}/build`, { recursive: true });
  const sources = files.filter((name) => name.endsWith(".c"));
  // Moved into its place when it is whole: two builds at a time do no harm.
  const made = `${binary}.${process.pid}`;
  try {
    const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];
    await promisify(execFile)("cc", [...flags, ...sources, "-o", made]);
    renameSync(made, binary);
  } finally {
    rmSync(made, { force: true });
  }
  return binary;
}

export interface LoadOptions {
  /** "127.0.0.1:8080", "[::1]:8080", "unix:/path" or "unix:@name". */
  readonly target: string;
  /**
   * new: a connection per request · keepalive: persistent connections · stream: long answers · idle: each
   * connection asks once at the start and once at the end.
   */
  readonly mode: "new" | "keepalive" | "stream" | "idle";
  readonly connections?: number;
  /** Requests per second in total; 0 (the default): as fast as answers come. */
  readonly rate?: number;
  readonly thinkMs?: readonly [low: number, high: number];
  /** Ends by itself after so many. */
  readonly requests?: number;
  /** When it begins nothing any more, at the latest. Default 60, at most 900. */
  readonly seconds?: number;
  readonly path?: string;
  /** In 127.0.0.0/8, not 127.77.0.0/16. Default: spread over 127.0.1.1–254. */
  readonly source?: string;
  readonly lateMs?: number;
  readonly timeoutMs?: number;
  readonly method?: string;
  readonly bodyBytes?: number;
  /** The report has all latencies. */
  readonly histogram?: boolean;
  /** A process in whose network namespace the clients are. */
  readonly networkOf?: number;
}

/** How requests ended: every request in exactly one of the kinds from `ok` to `client`. */
export interface Report {
  readonly mode: LoadOptions["mode"];
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly durationMs: number;
  readonly requests: number;
  /** Connections opened. */
  readonly connections: number;
  /** Kept connections that ended between two requests, noticed in time: no loss. */
  readonly closedIdle: number;
  /** Kept connections dropped because bytes came between two requests (a 408, or another client's answer). */
  readonly unasked: number;
  /** Of `ok` and `badStatus`: whole, but later than `lateMs` (mode stream: the first byte). */
  readonly late: number;
  readonly ok: number;
  readonly badStatus: number;
  readonly refused: number;
  readonly reset: number;
  readonly resetOnReuse: number;
  readonly eof: number;
  readonly eofOnReuse: number;
  readonly cut: number;
  readonly timeout: number;
  readonly malformed: number;
  /** The generator's own failures (no port, no descriptor); then it exits with 1. */
  readonly client: number;
  readonly status: Readonly<Record<string, number>>;
  /** By x-version, else by the body's first word. Counted, as generations, when the head of an answer came. */
  readonly versions: Readonly<Record<string, number>>;
  readonly generations: Readonly<Record<string, number>>;
  readonly instances: number;
  /** Mode stream: to the first byte; else to the last one. */
  readonly latencyMs: Readonly<Record<"p50" | "p99" | "p999" | "max", number>>;
  /** [milliseconds, requests] of each bucket, the shortest first; only where it was asked for. */
  readonly histogram?: readonly (readonly [ms: number, requests: number])[];
  /** By generation, in milliseconds since the start. */
  readonly firstSeen: Readonly<Record<string, number>>;
  readonly lastSeen: Readonly<Record<string, number>>;
  readonly errors: readonly { readonly ms: number; readonly what: string }[];
}

export interface Losses {
  readonly refused: number;
  readonly reset: number;
  readonly cut: number;
  readonly late: number;
}

/**
 * What clients lost, summed by kind:
 *
 * - refused: no connection came about
 * - reset: the connection ended before the head of an answer (reset, resetOnReuse, eof, eofOnReuse)
 * - cut: it ended within an answer, or what came was none (cut, malformed)
 * - late: the answer came late or not at all (late, timeout)
 *
 * A status other than 2xx is the application's answer and no loss: look at `badStatus`. Throws when the report
 * proves nothing: the generator had trouble of its own, or nobody was answered and nothing was lost either.
 */
export function lost(report: Report): Losses {
  const losses = {
    refused: report.refused,
    reset: report.reset + report.resetOnReuse + report.eof + report.eofOnReuse,
    cut: report.cut + report.malformed,
    late: report.late + report.timeout,
  };
  const something = Object.values(losses).some((count) => count > 0);
  if (report.client > 0 || (report.ok === 0 && !something)) {
    throw new Error(`the load proves nothing: ${JSON.stringify(report)}`);
  }
  return losses;
}

interface Progress {
  readonly event: "started" | "generation" | "version" | "settled";
  readonly ms: number;
  readonly value?: string;
}

export class Load {
  readonly #process: Process;
  readonly #seen: Progress[] = [];
  readonly #waiting = new Set<() => void>();
  #over = false;
  /** The report, when the load has ended by itself or was told to. */
  readonly done: Promise<Report>;

  constructor(process: Process) {
    this.#process = process;
    const [, stdout, stderr, progress] = process.child.stdio as unknown as (Readable | null)[];
    if (stdout == null || stderr == null || progress == null) throw new Error("the load's pipes are missing");
    const lines = createInterface({ input: progress });
    lines.on("line", (line) => this.#note(JSON.parse(line) as Progress));
    this.done = Promise.all([text(stdout), text(stderr), process.exit]).then(parseReport);
    this.done.catch(() => undefined); // Whoever awaits it sees the error.
    lines.once("close", () => {
      this.#over = true;
      this.#wake();
    });
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The first answer with a status of 2xx has come. */
  get started(): Promise<number> {
    return this.#until("started");
  }

  /** The first request of every connection has ended. */
  get settled(): Promise<number> {
    return this.#until("settled");
  }

  /** An answer of this generation has come. Resolves to milliseconds since the start. */
  sawGeneration(generation: number | string): Promise<number> {
    return this.#until("generation", String(generation));
  }

  sawVersion(version: string): Promise<number> {
    return this.#until("version", version);
  }

  /** Begins nothing any more, finishes what is under way and reports. Idle connections ask their second time. */
  stop(): Promise<Report> {
    this.#process.kill("SIGTERM");
    return this.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exit;
  }

  #note(progress: Progress): void {
    this.#seen.push(progress);
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #until(event: Progress["event"], value?: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.#seen.find((one) => one.event === event && one.value === value);
        if (found === undefined && !this.#over) return;
        this.#waiting.delete(look);
        if (found !== undefined) resolve(found.ms);
        else {
          const what = `${event}${value === undefined ? "" : ` ${value}`}`;
          this.done.then(
            (report) => reject(new Error(`the load ended without "${what}": ${JSON.stringify(report)}`)),
            reject,
          );
        }
      };
      this.#waiting.add(look);
      look();
    });
  }
}

function parseReport([stdout, stderr, exit]: [string, string, Exit]): Report {
  if (exit.code !== 0 || stdout === "") {
    throw new Error(
      `the load generator ended with ${exit.code ?? exit.signal ?? "nothing"}: ${stderr}${stdout}`,
    );
  }
  return JSON.parse(stdout) as Report;
}

function toArguments(options: LoadOptions): string[] {
  const given: [string, string | number | undefined][] = [
    ["--target", options.target],
    ["--mode", options.mode],
    ["--connections", options.connections],
    ["--rate", options.rate],
    ["--think", options.thinkMs?.join("-")],
    ["--requests", options.requests],
    ["--seconds", options.seconds ?? 60],
    ["--path", options.path],
    ["--source", options.source],
    ["--late-ms", options.lateMs],
    ["--timeout-ms", options.timeoutMs],
    ["--method", options.method],
    ["--body-bytes", options.bodyBytes],
    ["--histogram", options.histogram === true ? 1 : undefined],
    ["--progress-fd", 3],
  ];
  return given.flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)]));
}

/** Starts a load. The program must have been built: vitest's global setup does. */
export function startLoad(options: LoadOptions): Load {
  const { networkOf } = options;
  const [file = "", ...args] = [
    ...(networkOf === undefined ? [] : ["nsenter", "-t", String(networkOf), "-n"]),
    binary,
    ...toArguments(options),
  ];
  return new Load(start(file, args, { stdio: ["ignore", "pipe", "pipe", "pipe"] }));
}
