/**
 * The new program is tried in a child before it may replace anything: it is loaded with its addon, reads the configuration and the
 * state, and opens nothing. A version that could not go on is refused here, with its own words.
 */
import { messageOf } from "../../handoff/coded-error.ts";
import { late } from "../../handoff/late.ts";
import { packageVersion } from "../../handoff/version.ts";
import type { Config } from "../config/config.ts";
import { upgradeRefused } from "../errors.ts";
import type { Program } from "./program.ts";
import { SnapshotStore } from "../state/snapshot.ts";
import { differences, essenceOf, parseState } from "./upgrade-state.ts";

const TRIAL_MS = 20_000;
/** Of what it said, when it has failed. */
const TAIL = 600;

/**
 * Runs the trial with this state. Resolves to the version that it says it is. Throws UPGRADE_REFUSED.
 */
export async function tryProgram({ file, argv }: Program, state: string): Promise<string> {
  const [argv0 = file, ...args] = argv;
  const { NOTIFY_SOCKET: _socket, WATCHDOG_USEC: _watchdog, ...environment } = process.env;
  const child = late.childProcess.spawn(file, args, {
    argv0,
    env: environment,
    stdio: ["pipe", "pipe", "pipe"],
    timeout: TRIAL_MS,
    killSignal: "SIGKILL",
  });
  const ended = new Promise<string | null>((resolve) => {
    child.once("error", (error) => resolve(`${file} cannot be run: ${messageOf(error)}`));
    child.once("close", (code, signal) => {
      if (signal === "SIGKILL") resolve(`the new program was not done within ${TRIAL_MS} ms`);
      else
        resolve(code === 0 ? null : `the new program ended with ${signal ?? `status ${code ?? "unknown"}`}`);
    });
  });
  child.stdin.on("error", () => undefined); // It has ended without reading: its status says so.
  child.stdin.end(state);
  const { text } = late.consumers;
  const [failure, said, complaint] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  if (failure !== null) throw upgradeRefused(`${failure}${tail(complaint)}`);
  const version = /^handoffd (\S+) can go on$/mu.exec(said)?.[1];
  if (version === undefined)
    throw upgradeRefused(`the new program does not say that it can go on${tail(said + complaint)}`);
  return version;
}

/**
 * The child's part: throws a CodedError when this version could not go on from that state. Opens nothing and changes nothing.
 */
export function assertCanGoOn(config: Config, text: string): void {
  const state = parseState(text);
  const changed = differences(state.essence, essenceOf(config));
  if (changed.length > 0) {
    throw upgradeRefused(
      `the configuration is not the one that runs: ${changed.join("; ")}; restore it; or, for what can change while the daemon runs, reload first; or stop and start the daemon`,
    );
  }
  const store = new SnapshotStore(config.paths.state, { use: "read" });
  for (const { name } of config.services) store.read(name);
}

/** What the child says when all is well. */
export function canGoOn(): string {
  return `handoffd ${packageVersion()} can go on\n`;
}

function tail(said: string): string {
  const words = said.trim().replace(/\s+/gu, " ").slice(-TAIL);
  return words === "" ? "" : `: ${words}`;
}
