/** Deno, which Debian does not have: its program as npm has it, installed once per machine beside the other downloads of the tests. */
import { mkdtempSync, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../handoff/coded-error.ts";
import { cache } from "./cache.ts";
import { end, environment, start, withDeadline } from "./processes.ts";

const VERSION = "2.9.6";
const INSTALL_MS = 120_000;
/** The package `deno` would do, but its own command is a Node program with Deno as a child, and that child has no sockets. */
const PACKAGE = `@deno/linux-${process.arch}-glibc`;

/** What stands in the way of it on this machine, in a sentence; null: nothing. */
export async function whyNoDeno(): Promise<string | null> {
  try {
    await denoFolder();
    return null;
  } catch (error) {
    return `Deno cannot be installed: ${messageOf(error)}`;
  }
}

/** The folder that has the program; installs it where it is not there. Throws when that fails. */
export async function denoFolder(): Promise<string> {
  const folder = join(cache, `deno-${VERSION}`);
  const program = join(folder, "node_modules", PACKAGE);
  if (existsSync(program)) return program;
  mkdirSync(cache, { recursive: true });
  // Renamed when it is whole: an installation that was broken off, or another one at the same time, does no harm.
  const work = mkdtempSync(join(cache, "install-"));
  const made = join(work, "deno");
  mkdirSync(made);
  const npm = start(
    "npm",
    [
      "install",
      "--no-save",
      "--no-package-lock",
      "--no-audit",
      "--no-fund",
      "--ignore-scripts",
      `${PACKAGE}@${VERSION}`,
    ],
    { cwd: made, env: environment(), stdio: ["ignore", "ignore", "inherit"] },
  );
  try {
    const { code } = await withDeadline(npm.exit, INSTALL_MS, `${PACKAGE} from npm`);
    if (code !== 0) throw new Error(`npm install ${PACKAGE}@${VERSION} ended with ${code ?? "a signal"}`);
    try {
      renameSync(made, folder);
    } catch (error) {
      if (!existsSync(folder)) throw error;
    }
    return program;
  } finally {
    await end(npm);
    rmSync(work, { recursive: true, force: true });
  }
}
