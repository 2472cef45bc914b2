// What processes use, by /proc.
import { readdirSync, readFileSync } from "node:fs";

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null; // The process has ended, or may not be looked at.
  }
}

/** Resident and proportional memory in MiB (smaps_rollup, proc(5)), summed. */
export function memoryOf(pids) {
  const sum = { rssMiB: 0, pssMiB: 0 };
  for (const pid of pids) {
    const text = read(`/proc/${pid}/smaps_rollup`) ?? "";
    const kib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "mu").exec(text)?.[1] ?? 0);
    sum.rssMiB += kib("Rss") / 1024;
    sum.pssMiB += kib("Pss") / 1024;
  }
  return sum;
}

/** Milliseconds that all threads of the processes have run so far (schedstat, Documentation/scheduler/sched-stats.rst). */
export function cpuMsOf(pids) {
  const threads = pids.flatMap((pid) => {
    try {
      return readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}/schedstat`);
    } catch {
      return [];
    }
  });
  return threads.reduce((sum, file) => sum + Number(read(file)?.split(" ")[0] ?? 0) / 1e6, 0);
}

function pids() {
  return readdirSync("/proc").filter((pid) => /^\d+$/u.test(pid));
}

/** Pids of the processes that have this word on their command line. */
export function processesWith(word) {
  return pids()
    .filter((pid) => (read(`/proc/${pid}/cmdline`) ?? "").includes(word))
    .map(Number);
}

/** Pids of a process' children, only those of that name where one is given. */
export function childrenOf(parent, name = null) {
  return pids()
    .filter((pid) => {
      const status = read(`/proc/${pid}/status`) ?? "";
      const own = /^Name:\s+(.*)$/mu.exec(status)?.[1];
      return Number(/^PPid:\s+(\d+)$/mu.exec(status)?.[1]) === parent && (name === null || own === name);
    })
    .map(Number);
}
