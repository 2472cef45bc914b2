/** `handoffd`: the daemon's arguments. What they start is daemon/main.ts, loaded only when it is needed. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";

import { packageVersion } from "../handoff/version.ts";
import { completionCommand } from "./commands/completion.ts";
import { tokenCommand } from "./commands/token.ts";
import { lookOf } from "./look.ts";
import { renderDiagnosis } from "./render-doctor.ts";
import { renderVersion, versionFacts } from "./version-facts.ts";
import { verifyCommand } from "./verify/command.ts";

interface RunOptions {
  readonly config?: string;
  readonly listen: readonly string[];
  readonly runtime?: string;
  readonly state?: string;
  readonly tryUpgrade?: true;
}

interface DoctorOptions {
  readonly config?: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

/** The whole command tree. `settle` is called with the exit code. */
export function handoffdProgram(settle: (code: number) => void): Command {
  const program = new Command("handoffd")
    .description("Owns listening sockets and hands them to new generations of an application.")
    .version(packageVersion())
    .exitOverride();

  program
    .command("run")
    .description("be the daemon, in the foreground")
    .usage("[-c FILE] | run --listen NAME=ADDRESS ... -- COMMAND...")
    .option("-c, --config <file>", "the configuration")
    .option("--listen <name=address>", "without a file: a listener, as web=tcp:127.0.0.1:8080", listener, [])
    .option("--runtime <directory>", "sockets and pid files, instead of paths.runtime")
    .option("--state <directory>", "what survives a reboot, instead of paths.state")
    // Given by a running daemon to the program that is to take its place.
    .addOption(new Option("--try-upgrade").hideHelp())
    .argument("[command...]", "without a file: what to run on the listeners, after --")
    .action(async (command: string[], options: RunOptions, self: Command) => {
      const { config, listen, runtime, state, tryUpgrade } = options;
      const wrong = contradiction(config, listen, command);
      if (wrong !== null) self.error(`error: ${wrong}`);
      const daemon = await import("../daemon/main.ts");
      settle(
        await daemon.run({
          ...(config !== undefined && { configFile: config }),
          ...(config === undefined && listen.length > 0 && { listen: [...listen], command }),
          ...(runtime !== undefined && { runtime }),
          ...(state !== undefined && { state }),
          ...(tryUpgrade !== undefined && { tryUpgrade }),
        }),
      );
    });

  program
    .command("check")
    .description("read the configuration and say what is wrong with it")
    .option("-c, --config <file>", "the configuration")
    .option("--json", "answer with one JSON document")
    .action(async ({ config, json = false }: { readonly config?: string; readonly json?: boolean }) => {
      const daemon = await import("../daemon/main.ts");
      settle(daemon.check({ json, ...(config !== undefined && { configFile: config }) }));
    });

  program
    .command("doctor")
    .description("what is wrong with this host, without a daemon; `handoffctl doctor` asks the daemon")
    .option("-c, --config <file>", "the configuration")
    .option("--all", "show what is as it should be, too")
    .option("--json", "answer with one JSON document")
    .action(async ({ config, all = false, json = false }: DoctorOptions) => {
      const { doctor } = await import("../daemon/main.ts");
      const diagnosis = await doctor(config === undefined ? {} : { configFile: config });
      const look = lookOf(process.stdout, process.env);
      write(json ? JSON.stringify(diagnosis, null, 2) : renderDiagnosis(diagnosis, all, look));
      settle(diagnosis.healthy ? 0 : 1);
    });

  verifyCommand(program, settle);

  program
    .command("version")
    .description("the version, and what else belongs into a report of a fault")
    .option("--json", "answer with one JSON document")
    .action(async ({ json = false }: { readonly json?: boolean }) => {
      const facts = await versionFacts();
      write(json ? JSON.stringify(facts, null, 2) : renderVersion(facts));
    });

  tokenCommand(program);
  completionCommand(program);
  return program;
}

/** Runs one command line, without the program's name. Resolves to the exit code; `run` when the daemon has ended. */
export async function main(argv: readonly string[]): Promise<number> {
  let code = 0;
  const program = handoffdProgram((ended) => (code = ended));
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    // Commander has said what is wrong; help and version were asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof Error && "code" in error)) throw error;
    process.stderr.write(`handoffd: ${error.message}\n`);
    return error.code === "TOKENS_INVALID" ? 2 : 1;
  }
}

function write(text: string): void {
  process.stdout.write(`${text}\n`);
}

function listener(given: string, before: readonly string[]): readonly string[] {
  if (!/^[^=]+=.+$/.test(given))
    throw new InvalidArgumentError("Write NAME=ADDRESS, as web=tcp:127.0.0.1:8080.");
  return [...before, given];
}

/** A configuration, or listeners with a command: never a mixture that would leave a part of it unused. */
function contradiction(
  config: string | undefined,
  listen: readonly string[],
  command: readonly string[],
): string | null {
  if (config !== undefined && (listen.length > 0 || command.length > 0)) {
    return "--config and --listen (or a command) exclude each other: put listeners and commands into the file";
  }
  if (listen.length > 0 && command.length === 0) return "--listen needs a command to run: put it after --";
  if (listen.length === 0 && command.length > 0) return "a command needs a listener: --listen NAME=ADDRESS";
  return null;
}
