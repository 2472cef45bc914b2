/** Ends processes: the signal to the process, time to finish, then SIGKILL to what is left of its group. */
import type { Process } from "../handoff/process.ts";
import type { ServiceConfig } from "./config/config.ts";
import { groupMembers } from "./proc.ts";

/** Nothing tells when the last member of a group has gone: it is looked at, at this distance. */
const LOOK_MS = 100;
/** After SIGKILL it is a matter of milliseconds, which whoever asks about slots right after an end would notice. */
const LOOK_AFTER_KILL_MS = 10;
/** Of a member that still frees its memory, or that the kernel cannot end (state D, proc_pid_stat(5)). */
const KILLED_MS = 10_000;
/** Above it setTimeout fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** For what comes after the last drain. */
const STOP_GRACE_MS = 5_000;

/** The longest that a stop may take, in milliseconds: what runs drains as it was started, whatever the configuration says by now. */
export function longestStopMs(all: readonly { readonly config: Pick<ServiceConfig, "drain"> }[]): number {
  return Math.max(0, ...all.map(({ config: { drain } }) => drain.settleMs + drain.timeoutMs)) + STOP_GRACE_MS;
}

export interface Ended {
  /** Processes that outlived the time and were killed. */
  readonly killed: number;
}

/**
 * Ends the process and its group. `deadline` (milliseconds since the epoch) is the last moment before SIGKILL; `signal` null: it
 * was sent already. The process is released at the end: its pid means nothing any more. `onKill` is called right before. When
 * `over` is aborted the deadline has come.
 */
export async function endGroup(
  process: Process,
  signal: NodeJS.Signals | null,
  deadline: number,
  onKill: () => void,
  over?: AbortSignal,
): Promise<Ended> {
  if (signal !== null && process.kill(signal)) {
    // A stopped process does not take the signal until it goes on (as systemd does, kill(2)).
    process.killGroup("SIGCONT");
  }
  await exitBefore(process, deadline, over);
  let members = await membersOf(process);
  while (members.length > 0 && Date.now() < deadline && over?.aborted !== true) {
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

async function exitBefore(process: Process, deadline: number, over?: AbortSignal): Promise<void> {
  const late = new AbortController();
  const either = over === undefined ? late.signal : AbortSignal.any([late.signal, over]);
  const left = Math.min(Math.max(0, deadline - Date.now()), LONGEST_TIMER_MS);
  if (over?.aborted !== true) await Promise.race([process.exit(), pause(left, either)]);
  late.abort();
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
