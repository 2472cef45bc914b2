/**
 * The priority at which an instance starts. A program's start takes as much of the processors as it gets, compilers and all; beside a
 * generation that serves, that is time which the users wait. So a candidate starts at a low priority, and has the configured one back
 * before anybody meets it:
 *
 *   launched low ──ready, or told to end, or half of ready.timeout is over──▶ as configured
 *
 * Low is LOWERED_BY nice values more, and not SCHED_IDLE: on a machine that is busy for good it still starts. Where the kernel schedules
 * sessions against each other (sched(7), "The autogroup feature") and an instance's nice value says nothing outside its own, the session's
 * is lowered too.
 *
 * Only who may raise a priority can give it back (setpriority(2)). A daemon that may not lowers none.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { constants, getPriority, setPriority } from "node:os";
import type { Logger } from "pino";
import { hasCode } from "../../handoff/coded-error.ts";
import type { LaunchSpecification } from "../../handoff/launch.ts";
import { native } from "../../handoff/native.ts";
import { RLIMIT_NICE } from "./account.ts";
import { allPids } from "../proc.ts";

/** A tenth of the weight (sched_prio_to_weight, kernel/sched/core.c): it starts ten times as long at worst, for half of ready.timeout. */
export const LOWERED_BY = 10;
const LOWEST = 19;
/** Bits of CapEff (capability.h). */
const CAP = { dacOverride: 1, sysAdmin: 21, sysNice: 23 } as const;
/** A thread may be made by one that is still low, and not be seen yet: it is looked again until none is, in the end not for ever. */
const MOST_PASSES = 20;

/** What a process was started with, and what it gets. */
export interface LoweredRecord {
  readonly nice: number;
  readonly low: number;
}

/** Of the process in an instance's place. */
export class Priority {
  readonly #log: Pick<Logger, "warn">;
  #lowered: LoweredRecord | null;

  constructor(record: LoweredRecord | null | undefined, log: Pick<Logger, "warn">) {
    this.#lowered = record ?? null;
    this.#log = log;
  }

  /** null: it is as configured. */
  get record(): LoweredRecord | null {
    return this.#lowered;
  }

  /** The specification with which its next process is started: at a low priority if it `yields`, and the daemon may give it back. */
  specify(specification: LaunchSpecification, yields: boolean): LaunchSpecification {
    const nice = specification.nice ?? getPriority();
    const low = Math.min(LOWEST, nice + LOWERED_BY);
    // Under a limit of its own the process could hold what is asked for against the daemon.
    const isLimited = specification.limits.some(({ resource }) => resource === RLIMIT_NICE);
    this.#lowered = yields && low > nice && !isLimited && canGiveBack() ? { nice, low } : null;
    return this.#lowered === null ? specification : { ...specification, nice: low };
  }

  /** The launcher is there, and leads its session. */
  spawned(pid: number): void {
    if (this.#lowered !== null && mayGiveBackSessions()) setSession(pid, LOWERED_BY);
  }

  /**
   * All its threads and processes get the configured priority, except those that have chosen another one meanwhile. What is known
   * to be of it: its process group, and who descends from that. `pid`: null where it has ended.
   */
  giveBack(pid: number | null): void {
    const lowered = this.#lowered;
    this.#lowered = null;
    if (lowered === null || pid === null) return;
    try {
      setSession(pid, 0);
      // The first look is at most of them; each later one, and the last is one that finds none, at all.
      raise(threadsOf(pid), lowered);
      for (let pass = 0; pass < MOST_PASSES && raise(threadsOfFamily(pid), lowered); pass++);
    } catch (error) {
      // It serves all the same.
      this.#log.warn({ err: error, pid }, "a process keeps the low priority with which it was started");
    }
  }
}

/** Returns whether there was anything to do. */
function raise(threads: readonly number[], { nice, low }: LoweredRecord): boolean {
  let found = false;
  for (const thread of threads) {
    try {
      // Of the one thread on Linux (setpriority(2), "C library/kernel differences").
      if (getPriority(thread) !== low) continue;
      setPriority(thread, nice);
      found = true;
    } catch (error) {
      if (!isErrno(error, constants.errno.ESRCH)) throw error;
    }
  }
  return found;
}

/** Of its process group and all that descends from it. Not by looking into every process of the host: a deploy waits for this. */
function threadsOfFamily(pid: number): number[] {
  const threads: number[] = [];
  const family = new Set([pid, ...allPids().filter((each) => native.processGroup(each) === pid)]);
  // A Set goes on with what is added meanwhile.
  for (const member of family) {
    for (const thread of threadsOf(member)) {
      threads.push(thread);
      for (const child of read(`/proc/${member}/task/${thread}/children`).split(" "))
        if (child !== "") family.add(Number(child));
    }
  }
  return threads;
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH")) return [];
    throw error;
  }
}

/** "" where there is nothing: what was looked at has ended, or this kernel has no such file. */
function read(path: string): string {
  try {
    return readFileSync(path, "latin1").trim();
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH")) return "";
    throw error;
  }
}

/** The nice value of the session's autogroup, where there are such (CONFIG_SCHED_AUTOGROUP). */
function setSession(pid: number, nice: number): void {
  const path = `/proc/${pid}/autogroup`;
  // Empty where the kernel knows such groups and the process has none. In a control group with processor shares of its own it has one that
  // does not count (task_wants_autogroup, kernel/sched/autogroup.c).
  if (read(path) === "") return;
  try {
    writeFileSync(path, String(nice));
  } catch (error) {
    if (!hasCode(error, "ENOENT", "ESRCH", "EINVAL")) throw error;
  }
}

let givesBack: boolean | null = null;
let givesSessionsBack: boolean | null = null;

/** Whether the daemon may raise the priority of others. Tried once: a user namespace shows capabilities that do not reach so far. */
function canGiveBack(): boolean {
  return (givesBack ??= capable(CAP.sysNice) && native.canRaisePriority());
}

/** Without CAP_SYS_ADMIN in the first user namespace every change but one in 100 ms is refused (proc_sched_autogroup_set_nice). */
function mayGiveBackSessions(): boolean {
  return (givesSessionsBack ??=
    /^\s*0\s+0\s+4294967295$/u.test(read("/proc/self/uid_map")) && capable(CAP.sysAdmin, CAP.dacOverride));
}

function capable(...capabilities: readonly number[]): boolean {
  const effective = BigInt(`0x${/^CapEff:\s*([\da-f]+)$/mu.exec(read("/proc/self/status"))?.[1] ?? "0"}`);
  return capabilities.every((bit) => ((effective >> BigInt(bit)) & 1n) === 1n);
}

/** os.setPriority() throws a SystemError, whose `code` is always ERR_SYSTEM_ERROR. */
function isErrno(error: unknown, errno: number): boolean {
  const { info } = error as { readonly info?: { readonly errno?: number } };
  return info?.errno === -errno;
}
