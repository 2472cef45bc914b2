/** Ends processes: the signal to the process, time to finish, then SIGKILL to what is left of its group. */
import { constants } from "node:os";
import type { ExitStatus } from "../../handoff/native.ts";
import type { Process } from "../../handoff/process.ts";
import type { ServiceConfig } from "../config/config.ts";
import { groupMembers } from "../proc.ts";

/** Nothing tells when the last member of a group has gone: it is looked at, at this distance. */
const LOOK_MS = 100;
/** After SIGKILL it is a matter of milliseconds, which whoever asks about slots right after an end would notice. */
const LOOK_AFTER_KILL_MS = 10;
/** Of a member that still frees its memory, or that the kernel cannot end (state D, proc_pid_stat(5)). */
const KILLED_MS = 10_000;
/** Above it setTimeout fires at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** For what comes after the last drain. */
const STOP_GRACE_MS = 5_000;

/** The longest that a stop may take, in milliseconds: what runs drains as it was started, whatever the configuration says by now. */
export function longestStopMs(all: readonly { readonly config: Pick<ServiceConfig, "drain"> }[]): number {
  return Math.max(0, ...all.map(({ config: { drain } }) => drain.settleMs + drain.timeoutMs)) + STOP_GRACE_MS;
}

/** A deadline that stands, so many milliseconds from now. */
export function within(ms: number): () => number {
  const deadline = Date.now() + ms;
  return () => deadline;
}

export interface Ended {
  /** Processes that outlived the time and were killed. */
  readonly killed: number;
}

/**
 * Ends the process and its group. `deadline` (milliseconds since the epoch) is the last moment before SIGKILL, asked for again when it
 * seems to have come, since it may be put off; `signal` null: it
 * was sent already. The process is released at the end: its pid means nothing any more. `onKill` is called right before. When
 * `over` is aborted the deadline has come.
 */
export async function endGroup(
  process: Process,
  signal: NodeJS.Signals | null,
  deadline: () => number,
  onKill: () => void,
  over?: AbortSignal,
): Promise<Ended> {
  if (signal !== null && process.kill(signal)) {
    // A stopped process does not take the signal until it goes on (as systemd does, kill(2)).
    process.killGroup("SIGCONT");
  }
  await exitBefore(process, deadline, over);
  let members = await membersOf(process);
  while (members.length > 0 && Date.now() < deadline() && over?.aborted !== true) {
    await pause(LOOK_MS, over);
    members = await membersOf(process);
  }
  const killed = members.length;
  if (killed > 0) {
    onKill();
    process.killGroup("SIGKILL");
    await process.exit();
    const until = Date.now() + KILLED_MS;
    while (Date.now() < until && (await membersOf(process)).length > 0) await pause(LOOK_AFTER_KILL_MS);
  }
  process.release();
  return { killed };
}

/** Of a foreign process only itself is the daemon's to end: what else is in its group is whose who started it. */
async function membersOf(process: Process): Promise<readonly number[]> {
  if (process.isForeign) return process.exited ? [] : [process.pid];
  return groupMembers(process.pid);
}

async function exitBefore(process: Process, deadline: () => number, over?: AbortSignal): Promise<void> {
  const exited = new AbortController();
  const either = over === undefined ? exited.signal : AbortSignal.any([exited.signal, over]);
  const exit = process.exit().then(() => exited.abort());
  while (!either.aborted) {
    const left = deadline() - Date.now();
    if (left <= 0) return;
    await Promise.race([exit, pause(Math.min(left, LONGEST_TIMER_MS), either)]);
  }
}

/** Resolves after `ms`, or as soon as the signal is aborted: whoever waits looks at the signal then. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

/** In words that follow a process's name. */
export function describeExit(status: ExitStatus): string {
  if (status.code !== null) return `exited with status ${status.code}`;
  if (status.signal !== null)
    return `was ended by ${SIGNAL_NAMES.get(status.signal) ?? `signal ${status.signal}`}`;
  return "has ended (its status is not known: it was started by an earlier daemon)";
}
