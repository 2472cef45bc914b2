/** `handoffctl`: asks the daemon. One verb a file in commands/; what they share is here. */
import { readFileSync } from "node:fs";
import { constants } from "node:os";

import { Command, CommanderError } from "commander";

import { ApiError, Client, type Endpoint } from "../admin-api/client.ts";
import { hasCode, messageOf } from "../handoff/coded-error.ts";
import { packageVersion } from "../handoff/version.ts";
import { abortCommand } from "./commands/abort.ts";
import { completionCommand } from "./commands/completion.ts";
import { continueCommand } from "./commands/continue.ts";
import { deployCommand } from "./commands/deploy.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { endCommand } from "./commands/end.ts";
import { eventsCommand } from "./commands/events.ts";
import { historyCommand } from "./commands/history.ts";
import { holdCommand } from "./commands/hold.ts";
import { listenersCommand } from "./commands/listeners.ts";
import { namesCommand } from "./commands/names.ts";
import { pauseCommand } from "./commands/pause.ts";
import { promoteCommand } from "./commands/promote.ts";
import { reloadCommand } from "./commands/reload.ts";
import { restartCommand } from "./commands/restart.ts";
import { resumeCommand } from "./commands/resume.ts";
import { rollbackCommand } from "./commands/rollback.ts";
import { scaleCommand } from "./commands/scale.ts";
import { statusCommand } from "./commands/status.ts";
import { topCommand } from "./commands/top.ts";
import { upgradeCommand } from "./commands/upgrade.ts";
import { waitCommand } from "./commands/wait.ts";
import { fileUnreadable } from "./errors.ts";
import { EXIT_CODES, exitCodeOf } from "./exit-code.ts";
import { Screen } from "./screen.ts";
import type { ExitCode, Run, Session } from "./session.ts";
import { plain } from "./table.ts";

const DEFAULT_SOCKET = "/run/handoffd/admin.sock";

interface GlobalOptions {
  readonly socket?: string;
  readonly url?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly json?: boolean;
}

/** The whole command tree. `runOf`: what makes a verb an action, given the program. */
export function handoffctlProgram(runOf: (program: Command) => Run): Command {
  const program = new Command("handoffctl")
    .description("Asks handoffd: what runs, who gets the connections, and to change it.")
    .version(packageVersion())
    .option("--socket <path>", `the daemon's admin socket (default: HANDOFFD_SOCKET, then ${DEFAULT_SOCKET})`)
    .option("--url <url>", "the daemon's API by TCP instead (default: HANDOFFD_URL)")
    .option(
      "--token-file <file>",
      "for --url: a file with the token (default: HANDOFFD_TOKEN has the token itself)",
    )
    .option("--ca <file>", "for --url: the CA that has signed the daemon's certificate, PEM")
    .option("--cert <file>", "for --url: a client certificate, PEM")
    .option("--key <file>", "for --url: its key, PEM")
    .option("--json", "answer with one JSON document")
    .configureHelp({ showGlobalOptions: true })
    .addHelpText(
      "after",
      `\nExit codes: ${EXIT_CODES.map(([code, meaning]) => `${code} ${meaning}`).join(", ")}`,
    )
    .exitOverride();
  const run = runOf(program);
  for (const command of COMMANDS) command(program, run);
  completionCommand(program);
  return program;
}

/** Runs one command line, without the program's name. Resolves to the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let code: ExitCode = 0;
  process.stdout.on("error", endWithReader);
  const program = handoffctlProgram((own) => (act) => async (...args) => {
    code = await act(open(own.opts<GlobalOptions>()), ...args);
  });
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    report(error, program.opts<GlobalOptions>().json ?? false);
    return exitCodeOf(error);
  }
}

/** Who reads has seen enough (`| head -1`): it ends without a word, as a program does that SIGPIPE ends. */
function endWithReader(error: Error): void {
  if (!hasCode(error, "EPIPE")) throw error;
  process.exit(128 + constants.signals.SIGPIPE);
}

const COMMANDS = [
  statusCommand,
  topCommand,
  deployCommand,
  waitCommand,
  promoteCommand,
  pauseCommand,
  continueCommand,
  abortCommand,
  rollbackCommand,
  restartCommand,
  scaleCommand,
  holdCommand,
  resumeCommand,
  endCommand,
  reloadCommand,
  listenersCommand,
  historyCommand,
  eventsCommand,
  upgradeCommand,
  doctorCommand,
  namesCommand,
] as const;

function open(options: GlobalOptions): Session {
  const { json = false } = options;
  const screen = new Screen({ stdout: process.stdout, stderr: process.stderr, environment: process.env });
  const write = (text: string) => {
    if (text !== "") screen.print(text);
  };
  const endpoint = endpointOf(options);
  return {
    client: new Client(endpoint),
    isLocal: "socketPath" in endpoint,
    json,
    now: Date.now,
    look: () => screen.look,
    draw: json || !screen.canDraw ? null : (lines) => screen.draw(lines),
    commandLine: (...words) => commandLine(options, words),
    say(line) {
      if (!json) write(line);
    },
    warn(line) {
      screen.warn(plain(line));
    },
    show(data, render) {
      write(json ? JSON.stringify(data, null, 2) : render(data));
    },
    tell(data, render) {
      write(json ? JSON.stringify(data) : render(data));
    },
  };
}

/** To be pasted into a shell: what the environment says stays there. */
function commandLine(
  { socket, url, tokenFile, ca, cert, key }: GlobalOptions,
  words: readonly string[],
): string {
  const options = { socket, url, "token-file": tokenFile, ca, cert, key };
  const given = Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  );
  return ["handoffctl", ...given, ...words].map(quoted).join(" ");
}

function quoted(word: string): string {
  return /^[\w./:@%+=,-]+$/u.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** A token is never an argument: arguments are everyone's to read in /proc. */
function endpointOf({ socket, url: given, tokenFile, ca, cert, key }: GlobalOptions): Endpoint {
  const { HANDOFFD_SOCKET: ownSocket, HANDOFFD_URL: ownUrl } = process.env;
  if (socket !== undefined) return { socketPath: socket };
  const url = given ?? (ownSocket ? undefined : ownUrl);
  if (!url) return { socketPath: ownSocket || DEFAULT_SOCKET };
  const token = tokenFile === undefined ? process.env["HANDOFFD_TOKEN"] : fileText(tokenFile).trim();
  return {
    url,
    ...(token !== undefined && token !== "" && { token }),
    ...(ca !== undefined && { ca: fileText(ca) }),
    ...(cert !== undefined && { cert: fileText(cert) }),
    ...(key !== undefined && { key: fileText(key) }),
  };
}

function fileText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw fileUnreadable(file, error);
  }
}

/** One sentence for people, or with --json what a program can match on. */
function report(error: unknown, json: boolean): void {
  if (!json) {
    process.stderr.write(`handoffctl: ${plain(messageOf(error))}\n`);
    return;
  }
  const code = error instanceof Error && "code" in error ? error.code : "INTERNAL";
  const body = error instanceof ApiError ? error.problem : { code, detail: messageOf(error) };
  process.stderr.write(`${JSON.stringify(body, null, 2)}\n`);
}
