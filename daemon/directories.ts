/** Where a daemon without a configuration file keeps its sockets and its state. */
import { lstatSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../handoff/coded-error.ts";
import { late } from "../handoff/late.ts";
import { cannotPrepare } from "./errors.ts";

export const DEFAULT_CONFIG_FILE = "/etc/handoffd/handoffd.yaml";

/**
 * A directory of this user alone, the same for the same listeners: a second run finds what a first one has left.
 *
 * @throws CodedError DIRECTORY_UNUSABLE when somebody else has made it
 */
export function privateDirectory(listen: readonly string[]): string {
  const uid = process.geteuid?.() ?? 0;
  const name = late.crypto.createHash("sha256").update(listen.join("\n")).digest("hex").slice(0, 8);
  const directory = join(tmpdir(), `handoffd-${uid}-${name}`);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw cannotPrepare(directory, messageOf(error), error);
  }
  const stat = lstatSync(directory);
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o077) !== 0) {
    throw cannotPrepare(directory, "it belongs to another user, or others may write to it; remove it", null);
  }
  return directory;
}
