/**
 * A real terminal: tmux, which runs a command in a pseudo-terminal, understands what it draws and shows what a person would see.
 *
 * It is spoken to in control mode (tmux(1)): commands are lines, answers stand between %begin and %end, and whatever the command
 * draws is told by %output. So nothing is polled: the screen is looked at again when something was drawn.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";

import {
  end,
  environment,
  eventually,
  killAll,
  processesOf,
  start,
  withDeadline,
  type Process,
} from "./processes.ts";

export interface TerminalOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** Keeps colours in what `screen` shows, as SGR sequences. */
  readonly colours?: boolean;
}

const DEADLINE_MS = 20_000;

export class Terminal implements AsyncDisposable {
  readonly #folder: string;
  readonly #server: Process;
  readonly #client: Process;
  readonly #capture: string;
  readonly #answers: {
    readonly resolve: (lines: string[]) => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  readonly #watchers = new Set<() => void>();
  /** Lines of the answer that is being read. */
  #reading: string[] | null = null;

  private constructor(folder: string, server: Process, client: Process, colours: boolean) {
    this.#folder = folder;
    this.#server = server;
    this.#client = client;
    this.#capture = `capture-pane -pJ ${colours ? "-e " : ""}-S -`;
    const { stdout } = client.child;
    if (stdout === null) throw new Error("stdio is piped");
    createInterface({ input: stdout }).on("line", (line) => this.#take(line));
  }

  /** Runs `command`; when it has ended the screen says `exit CODE`. */
  static async open(command: readonly string[], options: TerminalOptions = {}): Promise<Terminal> {
    const { columns = 80, rows = 24, colours = false } = options;
    const folder = mkdtempSync(`${tmpdir()}/tty-`);
    const socket = `${folder}/tmux`;
    const env = environment({ LC_ALL: "C.UTF-8", TERM: "xterm-256color", ...options.environment });
    if (options.environment?.["NO_COLOR"] === undefined) delete env["NO_COLOR"];
    const server = start("tmux", ["-S", socket, "-D", "-f", "/dev/null"], { env, stdio: "ignore" });
    await eventually("tmux", () => existsSync(socket));
    const words = command.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(" ");
    // tmux gives its own TERM; and a Ctrl-C is the command's, not the shell's.
    const shell = `trap : INT; export TERM='${env["TERM"] ?? ""}'; ${words}; printf 'exit %s\\n' $?; read -r _`;
    const session = ["new-session", "-x", String(columns), "-y", String(rows), "sh", "-c", shell];
    const client = start("tmux", ["-u", "-S", socket, "-C", ...session], {
      env,
      stdio: ["pipe", "pipe", "inherit"],
    });
    const terminal = new Terminal(folder, server, client, colours);
    // The answer to new-session itself.
    await terminal.#answer();
    return terminal;
  }

  /** What is seen, with what has scrolled away above it; no trailing empty lines. */
  async screen(): Promise<readonly string[]> {
    const lines = (await this.#ask(this.#capture)).map((line) => line.trimEnd());
    while (lines.at(-1) === "") lines.pop();
    return lines;
  }

  /** Resolves to the screen as soon as `found` in it. */
  async until(found: string | RegExp): Promise<string> {
    let seen = "";
    const look = async (): Promise<string> => {
      for (;;) {
        const drawn = new Promise<void>((resolve) => this.#watchers.add(resolve));
        seen = (await this.screen()).join("\n");
        if (typeof found === "string" ? seen.includes(found) : found.test(seen)) return seen;
        await drawn;
      }
    };
    try {
      return await withDeadline(look(), DEADLINE_MS, String(found));
    } catch (error) {
      throw new Error(`the terminal shows\n${seen}`, { cause: error });
    }
  }

  /** Presses keys by tmux's names: C-c, q, Enter. */
  async press(...keys: readonly string[]): Promise<void> {
    await this.#ask(`send-keys ${keys.join(" ")}`);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#ask(`refresh-client -C ${columns}x${rows}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#client);
    await end(this.#server);
    // The command: TMUX in its environment names the socket.
    await killAll(() => processesOf(this.#folder));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #ask(command: string): Promise<string[]> {
    this.#client.child.stdin?.write(`${command}\n`);
    return this.#answer();
  }

  /** Answers come in the order of the questions. */
  async #answer(): Promise<string[]> {
    const answer = new Promise<string[]>((resolve, reject) => this.#answers.push({ resolve, reject }));
    return withDeadline(answer, DEADLINE_MS, "an answer of tmux");
  }

  #take(line: string): void {
    if (this.#reading !== null) {
      if (!/^%(end|error) \d+ \d+ \d+$/u.test(line)) {
        this.#reading.push(line);
        return;
      }
      const waiting = this.#answers.shift();
      if (line.startsWith("%end")) waiting?.resolve(this.#reading);
      else waiting?.reject(new Error(`tmux: ${this.#reading.join(" ")}`));
      this.#reading = null;
    } else if (line.startsWith("%begin ")) {
      this.#reading = [];
    } else if (line.startsWith("%output ")) {
      for (const drawn of this.#watchers) drawn();
      this.#watchers.clear();
    }
  }
}
