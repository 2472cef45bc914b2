// Where processes run. Two that answer each other run on one processor or on two as the scheduler likes, and on two each
// message wakes one that sleeps, which takes many times what it costs to send it: so it is said, and not left to chance.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** The processors that this process may run on, by number. */
export function processors() {
  const [, list] = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  return list.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** All threads of a process, from here on (taskset(1)). */
export function runOn(pid, numbers) {
  execFileSync("taskset", ["-a", "-p", "-c", numbers.join(), String(pid)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}
