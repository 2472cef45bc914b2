/** `handoffd verify`: a user's own service under load and deploys, in a daemon of its own. */
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { parseDuration } from "../../daemon/config/values.ts";
import { CodedError, messageOf } from "../../handoff/coded-error.ts";
import { plain } from "../table.ts";
import type { Options } from "./verify.ts";

interface Given {
  readonly config?: string;
  readonly deploys: number;
  readonly connections: number;
  readonly path?: string;
  readonly stream?: string;
  readonly listen: ReadonlyMap<string, string>;
  readonly release?: string;
  readonly readyWithin?: number;
  readonly late: number;
  readonly output?: string;
  readonly json?: true;
}

/** `done` gets the exit code: 0 clean, 1 findings or failed, 2 usage or configuration, 128 + n interrupted by signal n. */
export function verifyCommand(program: Command, done: (code: number) => void): void {
  program
    .command("verify")
    .description(
      "run a service under load in a daemon of its own, deploy it again and again, say what is lost and why",
    )
    .argument("<service>")
    .option("-c, --config <file>", "the configuration")
    .option("--deploys <n>", "how many", whole, 5)
    .option("--connections <n>", "kept connections in use, and as many at rest, on each listener", whole, 16)
    .option("--path <path>", "what is asked for; default: the path of verify: or ready:, else /")
    .option("--stream <path>", "a path with a long answer; without it none is asked for")
    .option(
      "--listen <name=address>",
      "a listener's address, instead of a free one on loopback",
      listen,
      new Map(),
    )
    .option("--release <version>", "the version that runs, instead of the configured one")
    .option(
      "--ready-within <duration>",
      "what is slower to be ready is a finding; default: half of ready.timeout",
      duration,
    )
    .option("--late <duration>", "what is slower to answer is a finding", duration, 5_000)
    .option("--output <file>", "keep what the application writes")
    .option("--json", "answer with one JSON document")
    .addHelpText("after", "\nExit codes: 0 clean, 1 findings, 2 usage or configuration")
    .action(async (service: string, given: Given) => {
      const { verify } = await import("./verify.ts");
      try {
        done(await verify(optionsOf(service, given)));
      } catch (error) {
        done(complain(error, given.json ?? false));
      }
    });
}

function optionsOf(service: string, given: Given): Options {
  return {
    service,
    configFile: given.config ?? null,
    deploys: given.deploys,
    connections: given.connections,
    path: given.path ?? null,
    streamPath: given.stream ?? null,
    listen: given.listen,
    release: given.release ?? null,
    readyWithinMs: given.readyWithin ?? null,
    lateMs: given.late,
    output: given.output === undefined ? null : resolve(given.output),
    isJson: given.json ?? false,
    program: realpathSync(process.argv[1] ?? ""),
  };
}

/** One sentence for people, or with --json what a program can match on. Returns the exit code. */
function complain(error: unknown, isJson: boolean): number {
  if (!(error instanceof CodedError)) throw error;
  const { code } = error;
  const text = isJson
    ? JSON.stringify({ code, detail: messageOf(error) }, null, 2)
    : `handoffd: ${lines(error)}`;
  process.stderr.write(`${text}\n`);
  return code === "VERIFY_DAEMON_FAILED" ? 1 : 2;
}

/** The problems of a configuration are a line each. */
function lines(error: Error): string {
  return error.message.split("\n").map(plain).join("\n");
}

function whole(text: string): number {
  const number = Number(text);
  if (!/^\d+$/u.test(text) || number < 1 || number > 10_000) {
    throw new InvalidArgumentError("Write a whole number from 1 to 10000.");
  }
  return number;
}

function duration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error));
  }
}

function listen(given: string, before: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const [, name = "", address = ""] = /^([^=]+)=(.+)$/u.exec(given) ?? [];
  if (name === "") throw new InvalidArgumentError("Write NAME=ADDRESS, as web=tcp:127.0.0.1:8080.");
  return new Map([...before, [name, address]]);
}
