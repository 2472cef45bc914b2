/** Ends processes: the signal to the process, time to finish, then SIGKILL to what is left of its group. */
import type { Process } from "../handoff/process.ts";
import { groupMembers } from "./proc.ts";

/** Nothing tells when the last member of a group has gone: it is looked at, at this distance. */
const LOOK_MS = 100;

export interface Ended {
  /** Processes that outlived the time and were killed. */
  readonly killed: number;
}

/**
 * Ends the process and its group. `deadline` (milliseconds since the epoch) is the last moment before SIGKILL; `signal` null: it
 * was sent already. The process is released at the end: its pid means nothing any more. `onKill` is called right before.
 */
export async function endGroup(
  process: Process,
  signal: NodeJS.Signals | null,
  deadline: number,
  onKill: () => void,
): Promise<Ended> {
  if (signal !== null && process.kill(signal)) {
    // A stopped process does not take the signal until it goes on (as systemd does, kill(2)).
    process.killGroup("SIGCONT");
  }
  await exitBefore(process, deadline);
  let members = await groupMembers(process.pid);
  while (members.length > 0 && Date.now() < deadline) {
    await pause(LOOK_MS);
    members = await groupMembers(process.pid);
  }
  const killed = members.length;
  if (killed > 0) {
    onKill();
    process.killGroup("SIGKILL");
    await process.exit();
  }
  process.release();
  return { killed };
}

async function exitBefore(process: Process, deadline: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, deadline - Date.now()));
  });
  await Promise.race([process.exit(), late]);
  clearTimeout(timer);
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
