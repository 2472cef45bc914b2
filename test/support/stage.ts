/**
 * A daemon with one service whose releases are programs of test/fixtures/apps, each with its vice, and the one question
 * that is asked of all of them: what became of the deploy, and did any client notice?
 *
 * ```ts
 * await using stage = await Stage.open();
 * stage.install("crashing", { program: "exits-at-once.mjs" });
 * const { reason } = await stage.fails("crashing");
 * expect(reason.message).toContain("exited with status 3");
 * ```
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect } from "vitest";
import { type CliResult, type Config, type Daemon, startDaemon } from "./daemon.ts";
import { lost, startLoad, type Load, type LoadOptions, type Report } from "./load.ts";
import { commandOf } from "./paths.ts";
import { type Address, addressOf } from "./ports.ts";
import { descriptorCount, eventually } from "./processes.ts";
import type { Deploy, ServiceStatus } from "./status.ts";

export const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };

/** What is installed as one version. */
export interface Release {
  /** A file of test/fixtures/apps; null: nothing is there to be run. */
  readonly program: string | null;
  readonly environment?: Readonly<Record<string, string>>;
  /** The script that verifies it. Default: one that is content. */
  readonly smoke?: string | null;
  /** Of the script that runs the program. */
  readonly mode?: number;
  readonly interpreter?: string;
}

export interface StageOptions {
  /** What is not as `SERVICE` has it. */
  readonly service?: Config;
  /** The release that serves. */
  readonly good?: string;
}

const GOOD = "polite.mjs";

const SERVICE: Config = {
  command: ["./run"],
  version: "good",
  listeners: ["web"],
  ready: { by: "listening", timeout: "2s" },
  verify: [
    { http: { path: "/healthz", count: 2 }, timeout: "1s" },
    { command: ["./smoke"], timeout: "1s" },
  ],
  deploy: { bake: "100ms" },
  drain: { settle: "500ms", timeout: "2s" },
};

export interface Failure {
  readonly deploy: Deploy;
  readonly reason: { readonly code: string; readonly message: string };
  readonly cli: CliResult;
  readonly report: Report;
}

export interface FailOptions {
  readonly arguments?: readonly string[];
  /** What happens while `handoffctl deploy` waits. */
  readonly meanwhile?: () => Promise<unknown>;
  /** How late an answer may be, in milliseconds. Default: as the load's. */
  readonly lateMs?: number;
  /** What the deploy ends as. Default "failed". */
  readonly phase?: string;
}

export class Stage implements AsyncDisposable {
  readonly daemon: Daemon;
  /** Of the service's listener. */
  readonly address: Address;
  readonly #releases: string;

  private constructor(daemon: Daemon, address: Address, releases: string) {
    this.daemon = daemon;
    this.address = address;
    this.#releases = releases;
  }

  /** Generation 2 of the good release serves, and both of its slots have been used: from here on nothing should grow. */
  static async open({ service = {}, good = GOOD }: StageOptions = {}): Promise<Stage> {
    const releases = mkdtempSync(`${tmpdir()}/releases-`);
    install(releases, "good", { program: good });
    try {
      const daemon = await startDaemon({
        config: {
          listeners: { web: { address: "tcp:127.0.0.1:0" } },
          services: { api: { ...SERVICE, directory: `${releases}/{version}`, ...service } },
        },
      });
      const stage = new Stage(daemon, addressOf(await daemon.status(), "web"), releases);
      try {
        await stage.succeeds("good");
      } catch (error) {
        await stage[Symbol.asyncDispose]();
        throw error;
      }
      return stage;
    } catch (error) {
      rmSync(releases, { recursive: true, force: true });
      throw error;
    }
  }

  install(version: string, release: Release): void {
    install(this.#releases, version, release);
  }

  /** A file in the release's folder. */
  path(version: string, name: string): string {
    return `${this.#releases}/${version}/${name}`;
  }

  /** New connections, one for each request, at a pace that leaves the host room. */
  async load(options: Partial<LoadOptions> = {}): Promise<Load> {
    const load = startLoad({
      target: this.address.target,
      mode: "new",
      connections: 4,
      rate: 200,
      timeoutMs: 20_000,
      ...options,
    });
    await load.started;
    return load;
  }

  /** Deploys what works, by handoffctl, and waits until nothing is left of the generation before. */
  async succeeds(version: string, ...more: readonly string[]): Promise<CliResult> {
    const cli = await this.daemon.cli("deploy", "api", version, ...more);
    expect({ code: cli.code, stderr: cli.stderr }).toEqual({ code: 0, stderr: "" });
    await this.#alone();
    return cli;
  }

  /**
   * Deploys what does not work, by handoffctl, under load, and sees that it ends as it should: said to whoever asks, in
   * the same words, and noticed by no client; all processes and descriptors as they were, and the service with them.
   */
  async fails(version: string, options: FailOptions = {}): Promise<Failure> {
    const { daemon } = this;
    const before = await this.#alone();
    const held = await this.#held();
    const generation = before.current ?? 0;
    await using load = await this.load(options.lateMs === undefined ? {} : { lateMs: options.lateMs });
    const [cli] = await Promise.all([
      daemon.cli("deploy", "api", version, ...(options.arguments ?? [])),
      options.meanwhile?.(),
    ]);
    const deploy = await this.lastDeploy();
    const reason = deploy.reason ?? { code: "none", message: "no reason" };

    expect(deploy, reason.message).toMatchObject({
      version,
      from: generation,
      phase: options.phase ?? "failed",
    });
    expect(cli.code).toBe(1);
    expect(cli.stderr).toContain(reason.message);
    expect(cli.stderr).toContain(`Still true: generation ${generation} (version good)`);
    expect(this.logged(reason.code)).toContainEqual(expect.stringContaining(reason.message));
    await this.#alone();
    const report = await load.stop();
    expect({ ...lost(report), badStatus: report.badStatus }).toEqual({ ...NOTHING, badStatus: 0 });

    const after = await daemon.service();
    expect(after).toMatchObject({ state: "running", current: generation, candidate: null, previous: null });
    expect(after.generations).toMatchObject([{ number: generation, state: "serving", weight: 1 }]);
    await eventually("the processes and descriptors of before", async () => {
      return JSON.stringify(await this.#held()) === JSON.stringify(held);
    }).catch(async (error: unknown) => {
      expect(await this.#held()).toEqual(held);
      throw error;
    });
    return { deploy, reason, cli, report };
  }

  /** The sentences that the daemon has logged with this code. */
  logged(code: string): string[] {
    return this.daemon.log().flatMap((line) => (line["code"] === code ? [String(line["detail"])] : []));
  }

  async lastDeploy(): Promise<Deploy> {
    const { json } = await this.daemon.api("GET", "/v1/deploys?service=api&limit=1");
    const [{ id } = { id: "none" }] = (json as { readonly deploys: readonly Deploy[] }).deploys;
    return (await this.daemon.api("GET", `/v1/deploys/${id}`)).json as Deploy;
  }

  /** Waits until the service's newest deploy is in this phase. */
  async reaches(phase: string): Promise<Deploy> {
    return eventually(`a deploy that is ${phase}`, async () => {
      const deploy = await this.lastDeploy();
      return deploy.phase === phase ? deploy : undefined;
    });
  }

  /** Waits until one generation is left: the current one. */
  #alone(): Promise<ServiceStatus> {
    return eventually("one generation", async () => {
      const service = await this.daemon.service();
      return service.generations.length === 1 && service.current !== null ? service : undefined;
    });
  }

  /** Each process that came out of the daemon, with the number of its descriptors. */
  async #held(): Promise<Record<number, number>> {
    await this.daemon.api("GET", "/healthz"); // The connection of the request before is closed by now.
    return Object.fromEntries(
      this.daemon.processes().flatMap((pid) => {
        try {
          return [[pid, descriptorCount(pid)]];
        } catch {
          return []; // It has ended meanwhile.
        }
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    rmSync(this.#releases, { recursive: true, force: true });
  }
}

/** Writes a release's scripts, `run` and `smoke`, into the folder of its version. */
export function install(releases: string, version: string, release: Release): void {
  const { program, environment = {}, mode = 0o755, interpreter = "/bin/sh", smoke = "exit 0" } = release;
  const folder = `${releases}/${version}`;
  mkdirSync(folder, { recursive: true });
  const script = (name: string, lines: readonly string[], bits: number): void => {
    writeFileSync(`${folder}/${name}`, [`#!${interpreter}`, ...lines, ""].join("\n"));
    chmodSync(`${folder}/${name}`, bits);
  };
  if (program !== null) {
    const variables = Object.entries(environment).map(([name, value]) => `export ${name}='${value}'`);
    const words = commandOf(program).map((word) => `'${word}'`);
    script("run", [...variables, `exec ${words.join(" ")}`], mode);
  }
  if (smoke !== null) script("smoke", [smoke], 0o755);
}

/** A number that a program of fixtures/apps has written to a file; undefined while it is not there. */
export function numberIn(path: string): number | undefined {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}
