/** Runs a program of test/fixtures/apps by hand: with a listening socket at descriptor 3, as a supervisor would. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { commandOf, root } from "./paths.ts";
import { end, environment, eventually, start, type Exit, type Process } from "./processes.ts";

/** The descriptor of a listening server of this process. There is no public way to it. */
function descriptorOf(server: Server): number {
  const { _handle: handle } = server as unknown as { readonly _handle: { readonly fd: number } | null };
  if (handle === null) throw new Error("the server does not listen");
  return handle.fd;
}

export interface AppOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** The mode of the shared socket. Default: blocking, as a supervisor hands it over. */
  readonly mode?: "blocking" | "nonblocking";
  /** Listens to what it says to NOTIFY_SOCKET. */
  readonly notify?: boolean;
}

/** A NOTIFY_SOCKET. Node has no datagram sockets of that kind, so a program of fixtures/ receives. */
class Sink {
  readonly path: string;
  readonly process: Process;
  readonly notes: Record<string, string>[] = [];

  private constructor(path: string, process: Process) {
    this.path = path;
    this.process = process;
  }

  static async open(path: string): Promise<Sink> {
    const program = `${root}/test/fixtures/notify-sink.py`;
    const process = start("python3", [program, path], { stdio: ["ignore", "pipe", "inherit"] });
    const sink = new Sink(path, process);
    const lines = createInterface({ input: process.child.stdout as Readable });
    await once(lines, "line"); // It is bound.
    lines.on("line", (line) => sink.notes.push(JSON.parse(line) as Record<string, string>));
    return sink;
  }
}

export interface Pair extends AsyncDisposable {
  readonly one: App;
  readonly two: App;
}

export class App implements AsyncDisposable {
  readonly process: Process;
  readonly port: number;
  readonly #folder: string;
  readonly #sink: Sink | null;
  readonly #lines: string[] = [];

  private constructor(process: Process, port: number, folder: string, sink: Sink | null) {
    this.process = process;
    this.port = port;
    this.#folder = folder;
    this.#sink = sink;
    const { stdout, stderr } = process.child;
    for (const stream of [stdout, stderr]) {
      if (stream !== null) createInterface({ input: stream }).on("line", (line) => this.#lines.push(line));
    }
  }

  /** `name` is a file's name, such as "polite.mjs". */
  static async start(name: string, options: AppOptions = {}): Promise<App> {
    const [app] = await App.#startOn([name], options);
    if (app === undefined) throw new Error("unreachable");
    return app;
  }

  /** Two processes that hold one socket. */
  static async startPair(names: readonly [string, string], options: AppOptions = {}): Promise<Pair> {
    const [one, two] = await App.#startOn(names, options);
    if (one === undefined || two === undefined) throw new Error("unreachable");
    const dispose = async (): Promise<void> => {
      await Promise.all([one, two].map((app) => app[Symbol.asyncDispose]()));
    };
    return { one, two, [Symbol.asyncDispose]: dispose };
  }

  static async #startOn(names: readonly string[], options: AppOptions): Promise<App[]> {
    // We never accept: the socket is closed here as soon as the apps have it, before any client comes.
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const apps: App[] = [];
    for (const name of names) {
      const folder = mkdtempSync(`${tmpdir()}/app-`);
      const sink = options.notify === true ? await Sink.open(`${folder}/notify`) : null;
      const byHand = [`${root}/test/fixtures/by-hand.py`, options.mode ?? "blocking", ...commandOf(name)];
      const process = start("python3", byHand, {
        stdio: ["ignore", "pipe", "pipe", descriptorOf(server)],
        env: environment({
          LISTEN_FDS: "1",
          LISTEN_FDNAMES: "web",
          ...(sink === null ? {} : { NOTIFY_SOCKET: sink.path }),
          HANDOFF_VERSION: "41",
          HANDOFF_GENERATION: "3",
          ...options.environment,
        }),
      });
      apps.push(new App(process, port, folder, sink));
    }
    server.close();
    return apps;
  }

  get pid(): number {
    return this.process.pid;
  }

  get exit(): Promise<Exit> {
    return this.process.exit;
  }

  /** What it has printed so far, line by line. */
  get printed(): readonly string[] {
    return this.#lines;
  }

  /** What it has said to NOTIFY_SOCKET so far. */
  get notes(): readonly Record<string, string>[] {
    return this.#sink?.notes ?? [];
  }

  /** Waits until it has said READY=1. */
  async ready(): Promise<void> {
    await eventually("READY=1", () => this.notes.some((note) => note["READY"] === "1"));
  }

  /** Waits until it has printed a line that matches. */
  print(pattern: RegExp): Promise<RegExpExecArray> {
    return eventually(`a line like ${pattern.source}`, () => {
      for (const line of this.#lines) {
        const found = pattern.exec(line);
        if (found !== null) return found;
      }
      return undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.process, ...(this.#sink === null ? [] : [this.#sink.process])].map(end));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
