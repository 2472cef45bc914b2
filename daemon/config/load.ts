/**
 * The way from a file to a configuration:
 *
 *   bytes ── source ──▶ value ── validate ──▶ draft ── semantics ──▶ (all problems, or none) ── normalise ──▶ Config
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { resolve } from "node:path";
import { CodedError, hasCode, messageOf } from "../../handoff/coded-error.ts";
import type { Accounts, Identity } from "./accounts.ts";
import type { Config } from "./config.ts";
import { normalise } from "./normalise.ts";
import type { Environment } from "./paths.ts";
import { Report, throwIfWrong, warningsOf, type Source } from "./problem.ts";
import type { ConfigFile } from "./schema.ts";
import { checkMeaning } from "./semantics.ts";
import { parseYaml } from "./source.ts";
import { validateShape } from "./validate.ts";

export interface LoadOptions {
  /** RUNTIME_DIRECTORY and STATE_DIRECTORY are looked at. */
  readonly environment: Environment;
  /** `native` has it. */
  readonly accounts: Accounts;
  /** Who the daemon is; by default who this process is. */
  readonly self?: Identity;
}

/** A configuration has a few hundred lines. */
const LARGEST_FILE = 1024 * 1024;

/**
 * Reads a configuration file.
 *
 * @throws CodedError CONFIG_UNREADABLE; CONFIG_INVALID with all that is wrong in `details.problems` (see `Problem`).
 */
export function loadConfig(file: string, options: LoadOptions): Config {
  const source = parseYaml(file, readText(file));
  return configFrom(source.value, source, resolve(file), options);
}

/** The common end of both ways to a configuration. */
export function configFrom(
  value: unknown,
  source: Source,
  file: string | null,
  options: LoadOptions,
): Config {
  const report = new Report();
  const draft = validateShape(value, source, report);
  const self = options.self ?? { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  checkMeaning(draft, report, { ...options, self });
  throwIfWrong(report, source);
  return normalise(draft as ConfigFile, { ...options, file, warnings: warningsOf(report, source) });
}

function readText(file: string): string {
  const bytes = readBytes(file);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new CodedError(
      "CONFIG_INVALID",
      `${file} is not UTF-8 text; is it the right file? save it as UTF-8`,
      {
        cause: error,
        details: { file, problems: [] },
      },
    );
  }
}

function readBytes(file: string): Buffer {
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch (error) {
    throw unreadable(file, error);
  }
  try {
    if (fstatSync(fd).isDirectory()) throw new CodedError("EISDIR", "it is a directory");
    // Not by the size that stat tells: a pipe has none, and a file may grow.
    const buffer = Buffer.alloc(LARGEST_FILE + 1);
    let length = 0;
    for (let n = -1; n !== 0 && length < buffer.length; length += n) {
      n = readSync(fd, buffer, length, buffer.length - length, null);
    }
    if (length > LARGEST_FILE) {
      throw new CodedError(
        "CONFIG_INVALID",
        `${file} is larger than 1 MiB; is it the right file? shorten it`,
        {
          details: { file, problems: [] },
        },
      );
    }
    return buffer.subarray(0, length);
  } catch (error) {
    throw hasCode(error, "CONFIG_INVALID") ? error : unreadable(file, error);
  } finally {
    closeSync(fd);
  }
}

function unreadable(file: string, error: unknown): CodedError {
  const way = hasCode(error, "EACCES") ? "let the daemon's user read it" : "name another with -c FILE";
  return new CodedError("CONFIG_UNREADABLE", `${file} cannot be read: ${messageOf(error)}; ${way}`, {
    cause: error,
    details: { file },
  });
}
