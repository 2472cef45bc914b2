/** Runs a command to its end, or to the end of its time: those of verification and of analysis. */
import { readSync } from "node:fs";
import { messageOf } from "../../handoff/coded-error.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { launch, launchFailure, type LaunchSpecification } from "../../handoff/launch.ts";
import { native } from "../../handoff/native.ts";
import { specificationFor } from "../generation/account.ts";
import type { ServiceConfig } from "../config/config.ts";
import { endGroup, within } from "../generation/ending.ts";
import { variablesOf } from "../generation/generation-record.ts";

const LAUNCH_MS = 10_000;
const OUTPUT_TAIL = 2_000;

export interface CommandRun {
  /** That it throws is a command that cannot be run, as when its environment's file is gone. */
  readonly specification: () => LaunchSpecification;
  /** /dev/null, which stays the caller's. */
  readonly devNull: number;
  readonly timeoutMs: number;
}

export type CommandEnd =
  /** `code` null: by the signal. `said` is the end of what it wrote to its output. */
  | {
      readonly kind: "exited";
      readonly code: number | null;
      readonly signal: number | null;
      readonly said: string;
    }
  /** Its time was over, and it was killed with its group. */
  | { readonly kind: "late"; readonly said: string }
  | { readonly kind: "not-run"; readonly because: string };

/** How to run a command that is about a generation: as its user, in its surroundings, and not longer than the daemon lives. */
export function commandSpecification(
  generation: { readonly config: ServiceConfig; readonly number: number; readonly version: string | null },
  command: readonly string[],
  extra: Readonly<Record<string, string>>,
): LaunchSpecification {
  const { config, version } = generation;
  const variables = { ...variablesOf(generation), ...extra };
  return specificationFor(config, version, command, variables, false, "SIGKILL");
}

/**
 * When it returns or throws, no process of the command's group is left, nor any descriptor. Throws the signal's reason
 * when that is aborted.
 */
export async function runCommand(run: CommandRun, signal: AbortSignal): Promise<CommandEnd> {
  using output = new Descriptor(native.memfd("handoff-command-output"));
  let launched;
  try {
    const standard = [run.devNull, output.fd, output.fd] as const;
    launched = await launch(run.specification(), [], standard, LAUNCH_MS);
  } catch (error) {
    signal.throwIfAborted();
    return { kind: "not-run", because: messageOf(error) };
  }
  using channel = launched.channel;
  const { process } = launched;
  const stop = (): void => void process.killGroup("SIGKILL");
  signal.addEventListener("abort", stop, { once: true });
  try {
    // Aborted while it was being launched: nobody says so again.
    if (signal.aborted) stop();
    const { killed } = await endGroup(process, null, within(run.timeoutMs), () => undefined);
    signal.throwIfAborted();
    const { code, signal: by } = await process.exit();
    const failure = launchFailure(channel);
    if (failure !== null) return { kind: "not-run", because: failure.message };
    const said = tail(output);
    return killed > 0 ? { kind: "late", said } : { kind: "exited", code, signal: by, said };
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** The rest of a sentence about a command: what it said itself. */
export function quote(said: string): string {
  return said === "" ? "" : `; it said: ${said}`;
}

function tail(output: Descriptor): string {
  const buffer = Buffer.alloc(64 * 1024);
  let text = "";
  for (let position = 0; ;) {
    const read = readSync(output.fd, buffer, 0, buffer.length, position);
    if (read === 0) break;
    position += read;
    text = (text + buffer.toString("utf8", 0, read)).slice(-OUTPUT_TAIL);
  }
  return text.trim();
}
