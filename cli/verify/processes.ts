/** Processes that a verification has started, by pid and start time: a pid alone may be another one's by the time it is looked at. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pause } from "../../daemon/generation/ending.ts";
import { allPids, commandOf, hasEnded, socketsOf } from "../../daemon/proc.ts";
import { Process, startTimeOf } from "../../handoff/process.ts";
import { boundSockets } from "./sockets.ts";

const KILLED_MS = 10_000;

export interface Known {
  readonly pid: number;
  readonly startTime: string;
  readonly command: string;
}

/** Those of them that are there. */
export function known(pids: readonly number[]): Known[] {
  return pids.flatMap((pid) => {
    const startTime = startTimeOf(pid);
    return startTime === null ? [] : [{ pid, startTime, command: commandOf(pid) }];
  });
}

export function isAlive({ pid, startTime }: Known): boolean {
  return startTimeOf(pid) === startTime && !hasEnded(pid);
}

/** 0 when it has ended. */
export function descriptorCount(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

/**
 * Every living process whose NOTIFY_SOCKET is in the runtime directory: an instance, or what came of one and left its session. It
 * is read as it was at the start of its program, so none can have put it away.
 */
export function startedIn(runtime: string): Known[] {
  const mark = `\0NOTIFY_SOCKET=${runtime}/`;
  return known(
    allPids().filter((pid) => pid !== process.pid && `\0${environmentOf(pid)}`.includes(mark)),
  ).filter(isAlive);
}

/** The keeper of the daemon with this runtime directory: it has neither arguments nor an environment, but its socket has a path. */
export function keepersOf(runtime: string): Known[] {
  const inodes = boundSockets((path) => path === join(runtime, "keeper.sock"));
  const isOurs = (pid: number): boolean =>
    commandOf(pid) === "handoff-keeper" && inodes.some((inode) => socketsOf(pid).has(inode));
  return known(allPids().filter(isOurs)).filter(isAlive);
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return ""; // It has ended, or is not ours to look into: then it is none of ours either.
  }
}

/** SIGKILL to each that lives, by its pidfd. Returns when they have ended. */
export async function killKnown(processes: readonly Known[]): Promise<void> {
  const living = processes.filter(isAlive);
  const handles = living.flatMap(({ pid, startTime }) => Process.adopt(pid, startTime, true) ?? []);
  for (const handle of handles) handle.kill("SIGKILL");
  const enough = new AbortController();
  await Promise.race([Promise.all(handles.map((handle) => handle.exit())), pause(KILLED_MS, enough.signal)]);
  enough.abort();
  for (const handle of handles) handle.release();
}
