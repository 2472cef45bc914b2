/** Clients of apps/echoes.mjs: what they lost, and whether a byte was another one than it must be. */
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { root } from "./paths.ts";
import { eventually, start, withDeadline, type Process } from "./processes.ts";

const DEADLINE_MS = 60_000;

export interface EchoReport {
  readonly connections: number;
  readonly closed: number;
  readonly corrupt: number;
  readonly bytes: number;
  readonly blocked: number;
  readonly codes: Readonly<Record<string, number>>;
}

export class EchoClients {
  readonly process: Process;
  /** That have come back so far. */
  bytes = 0;
  readonly #lines: string[] = [];

  /** `thinkMs`: between what a connection says and what it says next. */
  constructor(mode: "net" | "ws", port: number, count: number, slow: number, thinkMs = 4) {
    const program = `${root}/test/fixtures/echo-client.mjs`;
    const words = [program, mode, String(port), String(count), String(slow), String(thinkMs)];
    this.process = start(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: this.process.child.stdout as Readable });
    lines.on("line", (line) => {
      const bytes = /^bytes (\d+)$/.exec(line)?.[1];
      if (bytes === undefined) this.#lines.push(line);
      else this.bytes = Number(bytes);
    });
  }

  async started(): Promise<void> {
    await eventually("the clients' connections", () => this.#lines.includes("started"), DEADLINE_MS);
  }

  async stop(): Promise<EchoReport> {
    this.process.kill("SIGTERM");
    await withDeadline(this.process.exit, DEADLINE_MS, "the clients' end");
    return JSON.parse(this.#lines.at(-1) ?? "") as EchoReport;
  }
}
