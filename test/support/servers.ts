/**
 * The servers of docs/applications.md, each in a daemon of its own that runs it as its example in examples/servers says:
 * only addresses, folders and the bake are the test's.
 *
 * ```ts
 * await using stage = await ServerStage.open("puma");
 * const { fresh, kept } = await stage.deploys(3);
 * expect(fresh).toMatchObject({ ...NOTHING, badStatus: 0 });
 * ```
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { parse } from "yaml";
import { type Config, type Daemon, startDaemon } from "./daemon.ts";
import { denoFolder, whyNoDeno } from "./deno.ts";
import { type Load, type LoadOptions, lost, type Losses, type Report, startLoad } from "./load.ts";
import { root } from "./paths.ts";
import { addressOf } from "./ports.ts";
import { environment, start, withDeadline } from "./processes.ts";
import { type ServerName, serverOf } from "./server-table.ts";

const BUILD_MS = 120_000;
const VERSION_MS = 20_000;
const DRAIN_MS = 90_000;
/** Interpreters, several at a time, on a busy machine. */
const START_MS = 90_000;
const BAKE = "300ms";
/** How long clients that keep their connection leave it idle. */
const THINK_MS = [0, 500] as const;
/** An answer may take its time on a busy machine: what is counted is what is lost. */
const PATIENT = { seconds: 600, lateMs: 60_000, timeoutMs: 60_000 } as const;

export interface Example {
  readonly listeners: Readonly<Record<string, Config & { readonly address: string }>>;
  readonly services: Readonly<Record<string, ExampleService>>;
}

interface ExampleService extends Config {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ready?: Config;
  readonly deploy?: Config;
  readonly drain?: { readonly signal: string };
}

export function folderOf(name: ServerName): string {
  return `examples/servers/${name}`;
}

export function exampleOf(name: ServerName): Example {
  return parse(readFileSync(`${root}/${folderOf(name)}/handoffd.yaml`, "utf8")) as Example;
}

/** What is missing on this machine for this server, in a sentence; null: nothing. */
export async function whyNot(name: ServerName): Promise<string | null> {
  if (name === "deno") return whyNoDeno();
  if (name === "php-fpm" && process.getuid?.() !== 0) return "php-fpm with the group www-data needs root";
  const { program } = serverOf(name);
  if (program === null) return null;
  const folders = (process.env["PATH"] ?? "").split(":");
  if (folders.some((folder) => existsSync(`${folder}/${program[0]}`))) return null;
  return `${program[0]} is missing (apt-get install --no-install-recommends ${program[1]})`;
}

/** What it says of itself when it is asked for its version: the first line of that. */
export async function versionOf(name: ServerName): Promise<string> {
  const [file, ...args] = serverOf(name).version;
  const path = `${await moreOfPath(name)}${process.env["PATH"] ?? ""}`;
  const asked = start(file, args, { env: environment({ PATH: path }), stdio: ["ignore", "pipe", "pipe"] });
  const said = Promise.all([asked.child.stdout, asked.child.stderr].map((each) => text(each as Readable)));
  const [out, err] = await withDeadline(said, VERSION_MS, `the version of ${name}`);
  return ((out ?? "") + (err ?? "")).split("\n")[0]?.trim() ?? "";
}

/** What clients of one kind saw during the deploys. */
export interface Seen extends Losses {
  readonly requests: number;
  readonly badStatus: number;
  /** Of `reset`: ended by the server under a request on a connection that had been kept. */
  readonly onReuse: number;
  /** Kept connections that the server ended between two requests, noticed before the next one: no loss. */
  readonly closedIdle: number;
}

export interface Outcome {
  readonly deploys: number;
  /** Each request on a connection of its own. */
  readonly fresh: Seen;
  /** On connections that are kept. */
  readonly kept: Seen;
  /** How many generations, or processes, have answered. */
  readonly answered: number;
  /** How many slots the listener has in the end. */
  readonly slots: number;
}

export class ServerStage implements AsyncDisposable {
  readonly daemon: Daemon;
  readonly #name: ServerName;
  readonly #target: string;

  private constructor(daemon: Daemon, name: ServerName, target: string) {
    this.daemon = daemon;
    this.#name = name;
    this.#target = target;
  }

  /**
   * A server's own configuration has to name the address that it is given. So the daemon's listeners come first, on ports
   * that the kernel chose, and its services by a reload, when the example's files say these ports.
   */
  static async open(name: ServerName, isPlain = false): Promise<ServerStage> {
    const home = `/tmp/handoffd-${name}`;
    const said = exampleOf(name).listeners;
    const listeners = Object.fromEntries(
      Object.entries(said).map(([each, one]) => {
        return [each, { ...one, address: one.address.replace(/:\d+$/, ":0").replace(home, "{dir}") }];
      }),
    );
    const path = `${await moreOfPath(name)}${process.env["PATH"] ?? ""}`;
    const daemon = await startDaemon({
      config: { listeners },
      environment: { PATH: path },
      awaits: "alive",
    });
    try {
      const status = await daemon.status();
      const places = Object.entries(said)
        .filter(([, { address }]) => address.startsWith("tcp:"))
        .map(([each, { address }]) => [address.replace("tcp:", ""), addressOf(status, each).target] as const);
      const folder = install(daemon.folder, name, [
        ...(isPlain ? (serverOf(name).plain ?? []) : []),
        ...places,
        [home, daemon.folder],
      ]);
      await build(daemon.folder, readFileSync(`${folder}/handoffd.yaml`, "utf8"));
      daemon.configure({ listeners, services: servicesOf(`${folder}/handoffd.yaml`) });
      const reload = await daemon.api("POST", "/v1/reload");
      if (reload.status !== 200) throw new Error(`${name}: ${JSON.stringify(reload.json)}`);
      await daemon.untilReady(START_MS);
      return new ServerStage(daemon, name, addressOf(status, "web").target);
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Deploys so often, each when nothing is left of the generation before the last, under both kinds of load. */
  async deploys(count: number, clients: number): Promise<Outcome> {
    const { service, path, tells } = serverOf(this.#name);
    await using fresh = this.#load({ mode: "new", connections: 16, rate: 50, path });
    await using kept = this.#load({ mode: "keepalive", connections: clients, thinkMs: THINK_MS });
    await Promise.all([fresh.started, kept.settled]);
    for (let version = 2; version <= count + 1; version++) {
      const deploy = await this.daemon.deploy(String(version), { service, until: ["draining"] });
      if (deploy.reason !== null) {
        throw new Error(`${this.#name}: ${deploy.reason.message}\n${this.daemon.tail()}`);
      }
      await this.daemon.until(
        "the end of the generation before",
        ({ services }) => services.find(({ name }) => name === service)?.generations.length === 1,
        DRAIN_MS,
      );
    }
    const [one, other] = await Promise.all([fresh.stop(), kept.stop()]);
    const { listeners } = await this.daemon.status();
    return {
      deploys: count,
      fresh: seenBy(one),
      kept: seenBy(other),
      answered: tells === "generation" ? Object.keys(one.generations).length : one.instances,
      slots: listeners.find(({ name }) => name === service)?.slots.length ?? 0,
    };
  }

  #load(options: Omit<LoadOptions, "target">): Load {
    return startLoad({ ...PATIENT, target: this.#target, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
  }
}

function seenBy(report: Report): Seen {
  const { requests, badStatus, resetOnReuse, eofOnReuse, closedIdle } = report;
  return { requests, ...lost(report), badStatus, onReuse: resetOnReuse + eofOnReuse, closedIdle };
}

/** Further folders in which the daemon's children find their programs. */
async function moreOfPath(name: ServerName): Promise<string> {
  return name === "deno" ? `${await denoFolder()}:` : "";
}

/** Writes the examples below the folder, where the daemon runs, with what stands in this one's files replaced. Returns its folder. */
function install(
  below: string,
  name: ServerName,
  replaced: readonly (readonly [from: string, to: string])[],
): string {
  // What the examples themselves need not be told: other users than the daemon's own read them, and Node finds its packages.
  chmodSync(below, 0o711);
  symlinkSync(`${root}/node_modules`, `${below}/node_modules`);
  cpSync(`${root}/package.json`, `${below}/package.json`);
  cpSync(`${root}/examples/servers`, `${below}/examples/servers`, { recursive: true });
  const folder = `${below}/${folderOf(name)}`;
  const texts = readdirSync(folder).map((file) => [file, readFileSync(`${folder}/${file}`, "utf8")] as const);
  for (const [from] of replaced) {
    if (!texts.some(([, text]) => text.includes(from))) throw new Error(`${name}: nothing says "${from}"`);
  }
  for (const [file, text] of texts) {
    writeFileSync(
      `${folder}/${file}`,
      replaced.reduce((all, [from, to]) => all.replaceAll(from, to), text),
    );
  }
  return folder;
}

/** Runs what an example says has to be run first. */
async function build(folder: string, example: string): Promise<void> {
  const [, command] = /^# (go build .*)$/m.exec(example) ?? [];
  if (command === undefined) return;
  const compiler = start("/bin/sh", ["-c", command], { cwd: folder, env: environment(), stdio: "inherit" });
  const { code } = await withDeadline(compiler.exit, BUILD_MS, command);
  if (code !== 0) throw new Error(`${command} ended with ${code ?? "a signal"}`);
}

function servicesOf(file: string): Config {
  const { services } = parse(readFileSync(file, "utf8")) as Example;
  return Object.fromEntries(
    Object.entries(services).map(([name, service]) => [
      name,
      {
        ...service,
        ready: { by: "listening", ...service.ready, timeout: `${START_MS}ms` },
        deploy: { ...service.deploy, bake: BAKE },
      },
    ]),
  );
}
