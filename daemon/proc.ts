/** What /proc tells of processes (proc(5)): who holds a socket, who descends from whom. Reading only. */
import { readdirSync, readFileSync } from "node:fs";
import { hasCode } from "../handoff/coded-error.ts";
import { native } from "../handoff/native.ts";
import type { Holder } from "../handoff/slot.ts";

const SLICE_MS = 3;

interface ProcessEntry {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly session: number;
  /** Its own among them, until that one is waited for. */
  readonly threads: number;
}

/** A process that ends while it is read, or that we may not look into, is simply not there. */
function unlessGone<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH", "EACCES", "EPERM")) return otherwise;
    throw error;
  }
}

export function allPids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/u.test(name))
    .map(Number);
}

/** Thousands of processes take a second to read: the event loop gets its turn in between. */
async function forEachPid(look: (pid: number) => void): Promise<void> {
  let sliceEnds = performance.now() + SLICE_MS;
  for (const pid of allPids()) {
    if (performance.now() > sliceEnds) {
      await new Promise((resolve) => setImmediate(resolve));
      sliceEnds = performance.now() + SLICE_MS;
    }
    look(pid);
  }
}

function entryOf(pid: number): ProcessEntry | null {
  const stat = unlessGone(() => readFileSync(`/proc/${pid}/stat`, "latin1"), "");
  if (stat === "") return null;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    pid,
    state: fields[0] ?? "",
    parent: Number(fields[1]),
    session: Number(fields[3]),
    threads: Number(fields[17]),
  };
}

/** No thread is left. The first one may end before the others, which have the process's sockets open until the last of them has ended. */
function isOver({ state, threads }: ProcessEntry): boolean {
  return state === "X" || (state === "Z" && threads <= 1);
}

/** The program's name. Not its command line: that may hold what no error message should. */
export function commandOf(pid: number): string {
  return unlessGone(() => readFileSync(`/proc/${pid}/comm`, "utf8"), "?").trim();
}

function inodesOf(pid: number): readonly number[] {
  return unlessGone(() => native.socketInodes(pid), []);
}

/** The inodes of the sockets that a process has open. */
export function socketsOf(pid: number): Set<number> {
  return new Set(inodesOf(pid));
}

/**
 * The process, everything in its session and everything that descends from either. What left both is not found: nobody could say any
 * more whose it is.
 */
export function familyOf(pid: number): number[] {
  const entries = allPids()
    .map((each) => entryOf(each))
    .filter((entry) => entry !== null);
  const family = new Set([pid]);
  for (let grown = true; grown;) {
    grown = false;
    for (const entry of entries) {
      if (!family.has(entry.pid) && (entry.session === pid || family.has(entry.parent))) {
        family.add(entry.pid);
        grown = true;
      }
    }
  }
  return [...family];
}

/** It has ended, whether its parent has looked yet or not. */
export function hasEnded(pid: number): boolean {
  const entry = entryOf(pid);
  return entry === null || isOver(entry);
}

/** The children of a process, zombies included. */
export function childrenOf(pid: number): number[] {
  return allPids().filter((each) => entryOf(each)?.parent === pid);
}

/** The living processes of a process group; those that only wait to be waited for, its leader among them, have nothing left to lose. */
export async function groupMembers(group: number): Promise<number[]> {
  const members: number[] = [];
  await forEachPid((pid) => {
    // Most are of other groups, and their files are not read for that.
    if (native.processGroup(pid) === group && !hasEnded(pid)) members.push(pid);
  });
  return members;
}

/** Whether one of the processes' families has this socket open. The processes themselves are looked at first. */
export function familyHolds(pids: readonly number[], inode: number): boolean {
  if (pids.some((pid) => socketsOf(pid).has(inode))) return true;
  return pids.some((pid) => familyOf(pid).some((each) => each !== pid && socketsOf(each).has(inode)));
}

/** Every process that has one of these sockets open, apart from `except`. */
export async function holdersOf(
  inodes: ReadonlySet<number>,
  except: ReadonlySet<number>,
): Promise<Map<number, Holder[]>> {
  const holders = new Map<number, Holder[]>();
  await forEachPid((pid) => {
    if (except.has(pid)) return;
    const own = inodesOf(pid).filter((inode) => inodes.has(inode));
    for (const inode of new Set(own)) {
      const list = holders.get(inode) ?? [];
      list.push({ pid, command: commandOf(pid) });
      holders.set(inode, list);
    }
  });
  return holders;
}

/** "pid 123 (nginx: master)" for whoever has the socket open; null when nobody is found. */
export function nameHolder(inode: number): string | null {
  const pid = allPids().find((each) => each !== process.pid && socketsOf(each).has(inode));
  return pid === undefined ? null : `pid ${pid} (${commandOf(pid)})`;
}

/** The boot that this kernel runs since: pids and start times mean nothing in another one. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
