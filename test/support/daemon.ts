/**
 * A real daemon for a test: a folder of its own, its configuration, its process, and whatever comes out of that.
 *
 * ```ts
 * await using daemon = await startDaemon({ config: { listeners: {…}, services: {…} } });
 * const { target } = addressOf(await daemon.status(), "web");
 * const deploy = await daemon.deploy("2");
 * expect(deploy.phase).toBe("succeeded");
 * ```
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { stringify } from "yaml";
import { root } from "./paths.ts";
import {
  alive,
  descriptorCount,
  environment,
  eventually,
  killAll,
  processesOf,
  rssKiB,
  start,
  withDeadline,
  type Exit,
  type Process,
} from "./processes.ts";
import { TERMINAL, type Deploy, type ServiceStatus, type Status } from "./status.ts";

const READY_MS = 20_000;

/** A mapping of YAML. */
export type Config = Readonly<Record<string, unknown>>;

export interface DaemonOptions {
  /**
   * The configuration. As an object it gets `paths`, `admin.socket` and `keeper` where it does not say them. As text
   * it is taken as it is, and "{dir}" stands for the test's folder (see `Daemon.folder`): it has to say
   * `paths: { runtime: "{dir}/run", state: "{dir}/state" }` and `admin: { socket: { path: "{dir}/admin.sock" } }`.
   */
  readonly config: Config | string;
  readonly environment?: Readonly<Record<string, string>>;
  /** What the first start waits for. Default "ready": every service serves. */
  readonly awaits?: "ready" | "alive";
  /** The path of the program. Default: this checkout's. */
  readonly program?: string;
  /** The path of the node that runs it. Default: the one that runs the tests. */
  readonly node?: string;
  /** Further arguments of `handoffd run`. */
  readonly arguments?: readonly string[];
}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The parsed body; null when it is empty, a string when it is not JSON. */
  readonly json: unknown;
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface DeployRequest {
  /** Default "api". */
  readonly service?: string;
  /** The rest of the request's body: strategy, steps, bake. */
  readonly body?: Config;
  /** Phases to wait for besides those in which a deploy ends; "baking" is over soon: ask for a long bake. */
  readonly until?: readonly string[];
  readonly timeoutMs?: number;
}

export class Daemon implements AsyncDisposable {
  /** The test's own: configuration, log, runtime and state directories. Its path is short, for unix sockets. */
  readonly folder: string;
  readonly #options: DaemonOptions;
  #process: Process | null = null;

  private constructor(folder: string, options: DaemonOptions) {
    this.folder = folder;
    this.#options = options;
  }

  /** For `startDaemon`. Throws with the log's tail when the daemon does not become ready. */
  static async open(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(mkdtempSync(`${tmpdir()}/hd-`), options);
    try {
      for (const name of ["run", "state"]) mkdirSync(`${daemon.folder}/${name}`);
      daemon.configure(options.config);
      await daemon.start(options.awaits);
      return daemon;
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  get configFile(): string {
    return `${this.folder}/handoffd.yaml`;
  }

  get socket(): string {
    return `${this.folder}/admin.sock`;
  }

  /** Of the process that was started last. An upgrade keeps it. */
  get pid(): number {
    if (this.#process === null) throw new Error("the daemon was never started");
    return this.#process.pid;
  }

  /** How the process that was started last ended. */
  get exit(): Promise<Exit> {
    if (this.#process === null) throw new Error("the daemon was never started");
    return this.#process.exit;
  }

  get descriptors(): number {
    return descriptorCount(this.pid);
  }

  get rssKiB(): number {
    return rssKiB(this.pid);
  }

  /** Writes the configuration; a running daemon sees it at its next reload. */
  configure(config: Config | string): void {
    writeFileSync(
      this.configFile,
      typeof config === "string" ? this.#fill(config) : stringify(this.#complete(config)),
    );
  }

  #fill(words: string): string {
    return words.replaceAll("{dir}", this.folder);
  }

  #complete(config: Config): Config {
    const whole: Config = {
      keeper: "auto",
      ...config,
      paths: {
        runtime: `${this.folder}/run`,
        state: `${this.folder}/state`,
        ...(config["paths"] as Config | undefined),
      },
      admin: { socket: { path: this.socket }, ...(config["admin"] as Config | undefined) },
    };
    return JSON.parse(this.#fill(JSON.stringify(whole))) as Config;
  }

  /** Starts the process and waits until it is ready, or only alive: a held service is not ready. */
  async start(until: "ready" | "alive" = "ready"): Promise<void> {
    if (this.#process !== null && alive(this.#process.pid)) throw new Error("the daemon runs already");
    // Files, not pipes: what the daemon and its instances write must not depend on this process.
    const out = openSync(`${this.folder}/stdout`, "a");
    const err = openSync(`${this.folder}/stderr`, "a");
    try {
      const more = this.#options.arguments ?? [];
      const { program = `${root}/bin/handoffd`, node = process.execPath } = this.#options;
      this.#process = start(node, [program, "run", "-c", this.configFile, ...more], {
        cwd: this.folder,
        env: environment({ ...this.#options.environment }),
        stdio: ["ignore", out, err],
      });
    } finally {
      closeSync(out);
      closeSync(err);
    }
    await this.untilReady(READY_MS, until);
  }

  /** Waits until GET /readyz says 200: for a start, an upgrade, a reload. */
  async untilReady(timeoutMs = READY_MS, until: "ready" | "alive" = "ready"): Promise<void> {
    try {
      const path = until === "ready" ? "/readyz" : "/healthz";
      await eventually(`a daemon that is ${until}`, () => this.#says(path), timeoutMs);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${this.tail()}`, {
        cause: error,
      });
    }
  }

  async #says(path: string): Promise<boolean> {
    if (!alive(this.pid)) {
      const { code, signal } = await this.exit;
      throw new Error(`the daemon ended with ${code ?? signal ?? "nothing"}`);
    }
    try {
      return (await this.api("GET", path)).status === 200;
    } catch {
      return false; // Its socket is not there yet.
    }
  }

  /** One request over the admin socket. */
  api(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ApiAnswer> {
    const content = body === undefined ? undefined : JSON.stringify(body);
    const type = content === undefined ? {} : { "content-type": "application/json" };
    return new Promise((resolve, reject) => {
      const outgoing = request({
        socketPath: this.socket,
        method,
        path,
        agent: false,
        headers: { ...type, ...headers },
        signal: AbortSignal.timeout(30_000),
      });
      outgoing.once("error", reject);
      outgoing.once("response", (response) => {
        text(response).then(
          (said) =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, json: parse(said) }),
          reject,
        );
      });
      outgoing.end(content);
    });
  }

  async #get(path: string): Promise<unknown> {
    const { status, json } = await this.api("GET", path);
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${JSON.stringify(json)}`);
    return json;
  }

  async status(): Promise<Status> {
    return (await this.#get("/v1/status")) as Status;
  }

  /** One service of the status; of those, "api" by default. */
  async service(name = "api"): Promise<ServiceStatus> {
    const found = (await this.status()).services.find((service) => service.name === name);
    if (found === undefined) throw new Error(`no service "${name}"`);
    return found;
  }

  /** Waits until `look` finds something in the status. */
  until<T>(
    what: string,
    look: (status: Status) => T,
    timeoutMs?: number,
  ): Promise<Exclude<T, undefined | false>> {
    return eventually(what, async () => look(await this.status()), timeoutMs);
  }

  /** `handoffctl` with these arguments, on this daemon. */
  async cli(...args: string[]): Promise<CliResult> {
    const control = start(process.execPath, [`${root}/bin/handoffctl`, ...args], {
      env: environment({ HANDOFFD_SOCKET: this.socket }),
      stdio: ["ignore", "pipe", "pipe"],
    });
    const read = Promise.all([
      control.exit,
      text(control.child.stdout as Readable),
      text(control.child.stderr as Readable),
    ]);
    try {
      const [{ code }, stdout, stderr] = await withDeadline(read, 120_000, `handoffctl ${args.join(" ")}`);
      return { code, stdout, stderr };
    } finally {
      control.kill("SIGKILL");
    }
  }

  /** Deploys and waits until it has ended (or is in a phase of `until`). What it ended as is the caller's to judge. */
  async deploy(version: string | undefined, options: DeployRequest = {}): Promise<Deploy> {
    const service = options.service ?? "api";
    const body = { ...(version === undefined ? {} : { version }), ...options.body };
    const { status, json } = await this.api("POST", `/v1/services/${service}/deploys`, body);
    if (status !== 202) throw new Error(`the deploy was not accepted: ${status} ${JSON.stringify(json)}`);
    return this.untilDeploy((json as Deploy).id, options);
  }

  async untilDeploy(id: string, options: Pick<DeployRequest, "until" | "timeoutMs"> = {}): Promise<Deploy> {
    const wanted = [...TERMINAL, ...(options.until ?? [])];
    let last: Deploy | undefined;
    const look = async (): Promise<Deploy | undefined> => {
      last = (await this.#get(`/v1/deploys/${id}`)) as Deploy;
      return wanted.includes(last.phase) ? last : undefined;
    };
    try {
      return await eventually(
        `the deploy ${id} to be ${wanted.join(" or ")}`,
        look,
        options.timeoutMs ?? 60_000,
      );
    } catch (error) {
      const message = `${String(error)}\nlast seen: ${JSON.stringify(last)}\n${this.tail()}`;
      throw new Error(message, { cause: error });
    }
  }

  /** What it has logged so far: the lines of stdout and stderr that are JSON. */
  log(): Readonly<Record<string, unknown>>[] {
    return this.output()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as Readonly<Record<string, unknown>>];
        } catch {
          return []; // An application's own brace, or a line that is just being written.
        }
      });
  }

  /** All that was written, the instances' own output included. */
  output(): string {
    return ["stdout", "stderr"].map((name) => readFileSync(`${this.folder}/${name}`, "utf8")).join("");
  }

  tail(): string {
    return `the last lines of its output:\n${this.output().trimEnd().split("\n").slice(-30).join("\n")}`;
  }

  /** Asks for an upgrade and waits until the new image answers. Throws when it was refused. */
  async upgrade(): Promise<void> {
    const { upgrades } = await this.status();
    const { status, json } = await this.api("POST", "/v1/upgrade");
    if (status !== 202) throw new Error(`the upgrade was not accepted: ${status} ${JSON.stringify(json)}`);
    await this.until("the new image", (now) => now.upgrades === upgrades + 1, READY_MS);
  }

  kill(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** SIGTERM, or another signal, and how it ended. */
  async stop(signal: NodeJS.Signals = "SIGTERM", timeoutMs = 60_000): Promise<Exit> {
    this.kill(signal);
    return withDeadline(this.exit, timeoutMs, "the daemon's end");
  }

  /** Starts it again, with the same configuration and directories, after `stop` or `kill`. */
  async restart(until: "ready" | "alive" = "ready"): Promise<void> {
    await withDeadline(this.exit, 60_000, "the daemon's end");
    await this.start(until);
  }

  /** Pids that provably came out of this daemon and run: itself, the keeper, instances, and what those left. */
  processes(): number[] {
    return processesOf(this.folder);
  }

  /** Kills all of that by pid and removes the folder; with HANDOFFD_TEST_KEEP set it stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await killAll(() => this.processes(), 10_000);
    await this.#process?.exit;
    if (process.env["HANDOFFD_TEST_KEEP"] === undefined)
      rmSync(this.folder, { recursive: true, force: true });
  }
}

function parse(said: string): unknown {
  if (said === "") return null;
  try {
    return JSON.parse(said);
  } catch {
    return said;
  }
}

/** Starts `bin/handoffd run` and waits until it is ready. Dispose of it. */
export function startDaemon(options: DaemonOptions): Promise<Daemon> {
  return Daemon.open(options);
}
