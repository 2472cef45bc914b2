/**
 * A daemon with an application of the SDK, whose connections move in deploys, and what the three who count say of them: the clients, the
 * application, the daemon.
 */
import { execFileSync } from "node:child_process";
import { readlinkSync } from "node:fs";
import { createConnection } from "node:net";
import { text } from "node:stream/consumers";
import { type Config, type Daemon, startDaemon } from "./daemon.ts";
import { type Load, type Report, startLoad } from "./load.ts";
import { oneService } from "./one-service.ts";
import { fixture } from "./paths.ts";
import { type Address, addressOf } from "./ports.ts";
import { eventually } from "./processes.ts";
import type { Deploy } from "./status.ts";

/** By its own word (`moves()` of handoffd/app). */
export interface MoveCounts {
  readonly off: string | null;
  readonly leaving: number;
  readonly taken: number;
  readonly given: number;
  readonly returned: number;
  readonly broken: number;
}

/** Of a process that has ended. */
export interface LastCounts extends MoveCounts {
  /** From its signal until it had no connection left. */
  readonly emptyMs: number;
}

export interface MovingOptions {
  /** The path of the node that runs the application. Default: the one that runs the tests. */
  readonly node?: string;
  readonly service?: Config;
}

/** How long an answer takes says more of the host. */
const PATIENT = { seconds: 900, lateMs: 20_000, timeoutMs: 30_000 };

export class Moving implements AsyncDisposable {
  readonly daemon: Daemon;
  readonly address: Address;

  private constructor(daemon: Daemon, address: Address) {
    this.daemon = daemon;
    this.address = address;
  }

  static async open({ node = process.execPath, service = {} }: MovingOptions = {}): Promise<Moving> {
    const daemon = await startDaemon({
      config: {
        ...oneService({
          command: [node, fixture("moves.mjs")],
          ready: { by: "notify" },
          drain: { timeout: "60s" },
          deploy: { bake: "0s" },
          ...service,
        }),
        // Other daemons of this host count theirs.
        marks: { base: 0x1_0000 * (1 + (process.pid % 0x7f00)) },
      },
    });
    return new Moving(daemon, addressOf(await daemon.status(), "web"));
  }

  /** Connections that have asked once, and ask again when the load is stopped. */
  async idle(connections: number): Promise<Load> {
    const load = startLoad({ ...PATIENT, target: this.address.target, mode: "idle", connections });
    await load.settled;
    return load;
  }

  async busy(connections: number): Promise<Load> {
    const { target } = this.address;
    const load = startLoad({ ...PATIENT, target, mode: "keepalive", connections, thinkMs: [0, 20] });
    await load.settled;
    return load;
  }

  /** Deploys, and returns when nothing is left of the generation before. */
  async deploy(version: string): Promise<Deploy> {
    const deploy = await this.daemon.deploy(version);
    if (deploy.phase !== "succeeded")
      throw new Error(`${deploy.id}: ${deploy.phase}, ${deploy.reason?.message ?? ""}`);
    await this.alone();
    return deploy;
  }

  async alone(): Promise<void> {
    await this.daemon.until("one generation", ({ services: [api] }) => api?.generations.length === 1, 60_000);
  }

  /** The pid of the only instance of a generation; the current one by default. */
  async pidOf(number?: number): Promise<number> {
    const { generations, current } = await this.daemon.service();
    const pid = generations.find((each) => each.number === (number ?? current))?.instances[0]?.pid;
    if (pid == null) throw new Error(`generation ${number ?? "current"} has no process`);
    return pid;
  }

  /** "v24.21.0": of the node that runs the application. */
  async versionOfNode(): Promise<string> {
    const node = readlinkSync(`/proc/${await this.pidOf()}/exe`);
    return execFileSync(node, ["--version"], { encoding: "utf8" }).trim();
  }

  /** What the process that is current counts, asked on a connection of its own. */
  async counts(): Promise<MoveCounts> {
    const socket = createConnection(this.address.where);
    socket.end("GET /moves HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    const said = await text(socket);
    return JSON.parse(said.slice(said.indexOf("{"), said.lastIndexOf("}") + 1)) as MoveCounts;
  }

  /** What each process that has ended by itself has counted, in their order. */
  get ended(): readonly LastCounts[] {
    return [...this.daemon.output().matchAll(/^moves (\{.*\})$/gmu)].map(
      ([, counts = ""]) => JSON.parse(counts) as LastCounts,
    );
  }

  /** A counter of the service, as Prometheus would see it. */
  async counter(name: "connections_moved_total" | "connections_move_failed_total"): Promise<number> {
    const { json } = await this.daemon.api("GET", "/metrics");
    const line = new RegExp(`^handoffd_${name}\\{service="api"\\} (\\d+)$`, "m").exec(String(json));
    return Number(line?.[1] ?? NaN);
  }

  /** What was said of such events. */
  said(type: string): string[] {
    return this.daemon.log().flatMap(({ msg, detail }) => (msg === type ? [String(detail)] : []));
  }

  /** From when each generation was to drain until its last process had ended, in milliseconds, by the daemon's log. */
  get drains(): readonly number[] {
    const began = new Map<unknown, number>();
    return this.daemon.log().flatMap(({ msg, phase, generation, time }) => {
      const at = Date.parse(String(time));
      if (msg === "deploy.phase" && phase === "draining") began.set(Number(generation) - 1, at);
      const since = msg === "instance.exited" ? began.get(generation) : undefined;
      return since === undefined ? [] : [at - since];
    });
  }

  /** Resolves when so many connections of the process are on their way, by its own word. */
  async leaving(pid: number, count: number): Promise<void> {
    await eventually(`${count} connections on their way`, () => {
      process.kill(pid, "SIGUSR2");
      return new RegExp(`^leaving ${count}$`, "mu").test(this.daemon.output());
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
  }
}

/** Of a load whose connections were to stay: what each of them met, and how many there were. */
export function sameness(report: Report): Readonly<Record<string, number>> {
  const { connections, closedIdle, unasked, requests, ok } = report;
  return { connections, closedIdle, unasked, failed: requests - ok };
}
