/**
 * A service's `environment_file`: NAME=value lines, as systemd.exec(5) and docker read them.
 *
 *   # a comment
 *   NODE_ENV=production
 *   GREETING="two words"     quotes around the whole value are removed; nothing is expanded
 */
import { readFileSync } from "node:fs";
import { CodedError, messageOf } from "../../handoff/coded-error.ts";

const LINE = /^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$/su;

/** @throws CodedError ENVIRONMENT_FILE_UNREADABLE, ENVIRONMENT_FILE_INVALID with the line */
export function readEnvironmentFile(file: string): Readonly<Record<string, string>> {
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch (error) {
    throw new CodedError(
      "ENVIRONMENT_FILE_UNREADABLE",
      `the file "${file}" cannot be read (${messageOf(error)}); create it, correct the path, or let the daemon's user read it`,
      { cause: error, details: { file } },
    );
  }
  const variables: [string, string][] = [];
  content.split("\n").forEach((raw, index) => {
    const line = raw.trim();
    if (line === "" || line.startsWith("#") || line.startsWith(";")) return;
    const match = LINE.exec(line);
    if (match === null || line.includes("\0")) {
      // The line itself is not shown: such files hold secrets.
      throw new CodedError(
        "ENVIRONMENT_FILE_INVALID",
        `line ${index + 1} of "${file}" is not NAME=value; the program would lack a variable; correct the line or begin it with "#"`,
        { details: { file, line: index + 1 } },
      );
    }
    variables.push([match[1] ?? "", unquoted(match[2] ?? "")]);
  });
  return Object.fromEntries(variables);
}

function unquoted(value: string): string {
  const match = /^(["'])(.*)\1$/su.exec(value);
  return match === null ? value : (match[2] ?? "");
}
