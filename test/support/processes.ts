/**
 * Every process that a test starts is known here by its pid and is ended by its pid. A test ends its own; what is
 * left at the end of a test file is killed and fails the file (setup.ts).
 *
 * Processes that were started by those processes are found by proof only: by the mark that they inherited in
 * their environment, or by a test's own folder (see processesOf).
 */
import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const MARK = "HANDOFFD_TEST_FILE";
/** Stands in the environment of every process of this test file. */
const mark = `${MARK}=${randomUUID()}`;

interface Tracked {
  readonly what: string;
  readonly test: string;
}

const tracked = new Map<number, Tracked>();
let currentTest = (): string => "(no test)";

/** Tells this file how to learn which test is running. Called by setup.ts: there is no vitest outside of its workers. */
export function nameTestsBy(name: () => string): void {
  currentTest = name;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child process with what one needs of it: its pid and its end. */
export interface Process {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Settles once, however the process ends. */
  readonly exit: Promise<Exit>;
  kill(signal?: NodeJS.Signals): void;
}

/** The environment that tests give: nothing of what a service manager around the tests may have set. */
export function environment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const kept = ["PATH", "HOME", "LANG", "TMPDIR", "USER"].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(kept), NO_COLOR: "1", [MARK]: mark.slice(MARK.length + 1), ...extra };
}

/** child_process.spawn, tracked. `env` is the whole environment: see `environment`. */
export function start(file: string, args: readonly string[], options: SpawnOptions = {}): Process {
  const child = spawn(file, args, { ...options, env: options.env ?? environment() });
  const { pid } = child;
  const exit = new Promise<Exit>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      if (pid !== undefined) tracked.delete(pid);
      resolve({ code, signal });
    });
  });
  exit.catch(() => undefined); // Whoever awaits it sees the error.
  if (pid === undefined) throw new Error(`cannot start ${file}: is it there and executable?`);
  tracked.set(pid, { what: [file, ...args].join(" "), test: currentTest() });
  return { pid, child, exit, kill: (signal = "SIGTERM") => void child.kill(signal) };
}

/** Kills `process` if it still runs and waits for its end. */
export async function end(process: Process): Promise<Exit> {
  process.kill("SIGKILL");
  return withDeadline(process.exit, 5000, `the end of pid ${process.pid}`);
}

/** Rejects after `ms`, saying what was waited for. The one place where tests give up. */
export async function withDeadline<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  const abort = new AbortController();
  const late = delay(ms, undefined, { signal: abort.signal }).then(
    () => Promise.reject(new Error(`waited ${ms} ms in vain for ${what}`)),
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    abort.abort();
  }
}

/**
 * Looks every 10 ms until `look` gives something other than undefined or false. For what tells no event: /proc, and
 * other programs' answers. The one place where tests poll.
 */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = 10_000,
): Promise<Exclude<T, undefined | false>> {
  const until = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found as Exclude<T, undefined | false>;
    if (performance.now() >= until) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await delay(10);
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined; // The process has ended meanwhile.
  }
}

/** The field after the command's name in /proc/PID/stat (proc(5)): state, parent, process group, session. */
function stat(pid: number): { state: string; parent: number; group: number; session: number } | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  const [state = "", parent, group, session] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state, parent: Number(parent), group: Number(group), session: Number(session) };
}

/**
 * Whether the process runs, with any of its threads. One that has ended and was not waited for does not: its
 * sockets are closed by then.
 */
export function alive(pid: number): boolean {
  const found = stat(pid);
  if (found === undefined) return false;
  if (found.state !== "Z" && found.state !== "X") return true;
  try {
    return readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}

export function sessionOf(pid: number): number | undefined {
  return stat(pid)?.session;
}

/** Waits until `pid` does not run any more. For children of the test itself prefer `Process.exit`. */
export async function waitForExit(pid: number, timeoutMs = 10_000): Promise<void> {
  await eventually(`the end of pid ${pid}`, () => !alive(pid), timeoutMs);
}

function allPids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** The direct children of `pid` that run. */
export function childrenOf(pid: number): number[] {
  return allPids().filter((other) => stat(other)?.parent === pid && alive(other));
}

/** How many descriptors the process has open. Throws when it has ended. */
export function descriptorCount(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Its resident memory (VmRSS). Throws when it has ended. */
export function rssKiB(pid: number): number {
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
  if (found === null) throw new Error(`pid ${pid} has no VmRSS: it has ended`);
  return Number(found[1]);
}

function linksOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).flatMap((name) => {
      try {
        return [readlinkSync(`${folder}/${name}`)];
      } catch {
        return []; // Closed meanwhile.
      }
    });
  } catch {
    return [];
  }
}

/**
 * Running processes that provably belong to `folder`, a test's own: its path stands in their command line or
 * environment (nginx writes over both), they run in it, or they hold a unix socket that is bound in it. Never the test itself.
 */
export function processesOf(folder: string): number[] {
  const inodes = new Set(
    (read("/proc/net/unix") ?? "")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , , , , , path]) => path?.startsWith(`${folder}/`) ?? false)
      .map((fields) => `socket:[${fields[6] ?? ""}]`),
  );
  return allPids().filter((pid) => {
    if (pid === process.pid || !alive(pid)) return false;
    const words = `${read(`/proc/${pid}/cmdline`) ?? ""}\0${read(`/proc/${pid}/environ`) ?? ""}`;
    if (words.includes(folder) || `${folderOf(pid)}/`.startsWith(`${folder}/`)) return true;
    return inodes.size > 0 && linksOf(pid).some((link) => inodes.has(link));
  });
}

/** The folder in which the process runs; "" when it has ended. */
function folderOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}

/** Kills by pid, again and again until `find` finds nobody: a supervisor may be starting another one meanwhile. */
export async function killAll(find: () => number[], timeoutMs = 5000): Promise<number[]> {
  const killed = new Set<number>();
  await eventually(
    "the end of the test's processes",
    () => {
      const found = find();
      for (const pid of found) {
        killed.add(pid);
        killOne(pid);
      }
      return found.length === 0;
    },
    timeoutMs,
  );
  return [...killed];
}

/** SIGKILL by pid; one that has ended already is fine. */
export function killOne(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function marked(): number[] {
  if (!existsSync("/proc/self/environ")) return [];
  return allPids().filter(
    (pid) => pid !== process.pid && alive(pid) && (read(`/proc/${pid}/environ`)?.includes(mark) ?? false),
  );
}

/** Kills what this test file has left running and throws an error that names it. Called at its end by setup.ts. */
export async function failOnLeftovers(): Promise<void> {
  const left = marked().map((pid) => {
    const known = tracked.get(pid);
    const what = known?.what ?? (read(`/proc/${pid}/cmdline`) ?? "").split("\0").join(" ");
    return `pid ${pid}, ${what}, started by ${known?.test ?? "another process"}`;
  });
  await killAll(marked);
  if (left.length > 0) throw new Error(`left running:\n  ${left.join("\n  ")}`);
}
