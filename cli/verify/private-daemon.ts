/**
 * A daemon of this verification alone: `handoffd run` in a process and a session of its own, with directories, admin socket and keeper
 * of its own. Whatever happens, all that came of it is ended and its directories are removed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Client } from "../../admin-api/client.ts";
import { pause } from "../../daemon/generation/ending.ts";
import { familyOf } from "../../daemon/proc.ts";
import { daemonFailed } from "./errors.ts";
import { keepersOf, killKnown, known, type Known, startedIn } from "./processes.ts";

const UP_MS = 120_000;
/** What an application needs at most to end when nothing is asked of it any more; then it is killed. */
const PATIENCE_MS = 5_000;
const AGAIN_MS = 200;
/** From the second signal on the daemon kills, and then ends itself. */
const KILL_MS = 30_000;
const LAST_WORDS = 20;

/** What says to a daemon who has started it, or where one is: this one has been started by nobody but us. */
const NOT_ITS_OWN =
  /^(LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET|FDSTORE|WATCHDOG_(PID|USEC)|MAINPID|(RUNTIME|STATE)_DIRECTORY|HANDOFF_.*|HANDOFFD_(SOCKET|URL|TOKEN))$/u;

export interface PrivatePlace {
  /** Absolute, fresh, and of this user alone where nobody else has to look into it. */
  readonly directory: string;
  readonly output: string;
}

/** `owner`: the uid of the application, where it is not ours: it has to reach its notify socket, and may own the paths of its sockets. */
export function preparePlace(owner: number | null): PrivatePlace {
  const directory = mkdtempSync(join(tmpdir(), "verify-"));
  const open = owner === null ? 0o700 : 0o711;
  for (const [name, mode] of [
    ["r", open],
    ["sockets", open],
    ["state", 0o700],
  ] as const) {
    mkdirSync(join(directory, name), { mode });
  }
  if (owner !== null) {
    chmodSync(directory, open);
    chownSync(join(directory, "sockets"), owner, -1);
  }
  return { directory, output: join(directory, "output.log") };
}

export class PrivateDaemon {
  readonly client: Client;
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #log: string[] = [];
  #hasExited = false;

  private constructor(directory: string, child: ChildProcess) {
    this.#directory = directory;
    this.#child = child;
    this.client = new Client({ socketPath: join(directory, "admin.sock") });
    this.#exited = new Promise((resolve) => {
      child.once("error", (error) => {
        this.#log.push(error.message);
        resolve();
      });
      child.once("exit", () => resolve());
    });
    void this.#exited.then(() => (this.#hasExited = true));
  }

  /** `program`: what runs as `handoffd`. Throws VERIFY_DAEMON_FAILED, or the signal's reason; then nothing is left. */
  static async start(
    directory: string,
    configuration: unknown,
    program: string,
    signal: AbortSignal,
  ): Promise<PrivateDaemon> {
    const file = join(directory, "handoffd.json");
    writeFileSync(file, JSON.stringify(configuration, null, 2), { mode: 0o600 });
    const environment = Object.entries(process.env).filter(([name]) => !NOT_ITS_OWN.test(name));
    // A session of its own: the terminal's Ctrl-C is ours to answer.
    const child = spawn(process.execPath, [...process.execArgv, program, "run", "-c", file], {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: Object.fromEntries(environment),
    });
    const daemon = new PrivateDaemon(directory, child);
    try {
      await daemon.#up(signal);
      return daemon;
    } catch (error) {
      await daemon.end(true);
      throw error;
    }
  }

  get exited(): Promise<void> {
    return this.#exited;
  }

  /** Its own log, as lines of JSON, and what it wrote to standard error: the last of both. */
  get lastWords(): readonly string[] {
    return this.#log.slice(-LAST_WORDS);
  }

  /**
   * Ends it, the application and the keeper; `atOnce` without time for the application to finish. Then all is killed that it had started and
   * that outlived it. Returns those.
   */
  async end(atOnce: boolean): Promise<readonly Known[]> {
    this.#child.kill("SIGTERM");
    if (!atOnce) await this.#exitWithin(PATIENCE_MS);
    const until = performance.now() + KILL_MS;
    while (!this.#hasExited && performance.now() < until) {
      this.#child.kill("SIGTERM");
      await this.#exitWithin(AGAIN_MS);
    }
    const { pid } = this.#child;
    if (!this.#hasExited && pid !== undefined) {
      // What it is just starting has no environment yet by which it could be found.
      const family = known(familyOf(pid));
      this.#child.kill("SIGKILL");
      await this.#exited;
      await killKnown(family);
    }
    const runtime = join(this.#directory, "r");
    const left = startedIn(runtime);
    await killKnown([...left, ...keepersOf(runtime)]);
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    return left;
  }

  async #up(signal: AbortSignal): Promise<void> {
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error("the daemon's output is piped");
    const up = new Promise<void>((resolve) => {
      createInterface({ input: stdout }).on("line", (line) => {
        this.#note(line);
        if (line.includes('"msg":"handoffd is up"')) resolve();
      });
    });
    createInterface({ input: stderr }).on("line", (line) => this.#note(line));
    const enough = new AbortController();
    const how = await Promise.race([
      up.then(() => "up" as const),
      this.#exited.then(() => "exited" as const),
      pause(UP_MS, AbortSignal.any([enough.signal, signal])).then(() => "late" as const),
    ]);
    enough.abort();
    signal.throwIfAborted();
    if (how === "exited") throw daemonFailed("did not start", this.lastWords);
    if (how === "late") throw daemonFailed(`was not up within ${UP_MS / 1000} s`, this.lastWords);
  }

  async #exitWithin(ms: number): Promise<void> {
    const enough = new AbortController();
    await Promise.race([this.#exited, pause(ms, enough.signal)]);
    enough.abort();
  }

  #note(line: string): void {
    this.#log.push(line);
    if (this.#log.length > 10 * LAST_WORDS) this.#log.splice(0, 9 * LAST_WORDS);
  }
}

export function removePlace({ directory }: PrivatePlace): void {
  rmSync(directory, { recursive: true, force: true });
}
