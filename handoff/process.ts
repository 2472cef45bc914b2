/**
 * A process watched by its pidfd: a child of ours or, after a recovery, somebody else's (then its exit status stays
 * unknown). The pidfd is owned here; the number `pid` is only ever shown, or used while the pidfd says that it lives.
 *
 * A child of ours is reaped late, by `release()`: until then its zombie keeps the pid, and with it the number of its
 * process group, so that a signal to the group cannot reach a stranger.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { type ExitStatus, native, type NativePoll } from "./native.ts";

const REAP_MS = 1000;
const UNKNOWN: ExitStatus = { code: null, signal: null };

export class Process {
  readonly pid: number;
  /** Somebody else has started it: its group is theirs, and it may be that only they may signal it. */
  readonly isForeign: boolean;
  /** In clock ticks since the boot (/proc/PID/stat, field 22): with the pid, what tells a process from its successor. */
  readonly startTime: string;
  readonly #pidfd: Descriptor;
  readonly #poll: NativePoll;
  readonly #waiters: ((status: ExitStatus) => void)[] = [];
  #status: ExitStatus | null = null;

  private constructor(pid: number, pidfd: number, startTime: string, isForeign = false) {
    this.pid = pid;
    this.isForeign = isForeign;
    this.startTime = startTime;
    this.#pidfd = new Descriptor(pidfd);
    this.#poll = new native.Poll(pidfd, () => this.#ended());
    try {
      this.#poll.start();
    } catch (error) {
      this.#poll.close();
      throw error;
    }
  }

  /** See `native.spawn`. Throws its error when the program cannot be executed. On a failure nothing is left. */
  static spawn(
    file: string,
    argv: readonly string[],
    environment: readonly string[],
    descriptors: readonly number[],
  ): Process {
    const { pid, pidfd } = native.spawn(file, argv, environment, descriptors);
    try {
      return new Process(pid, pidfd, startTimeOf(pid) ?? "");
    } catch (error) {
      // It runs, and nobody could watch it (EMFILE).
      destroy(pidfd);
      throw error;
    }
  }

  /**
   * Watches a process that somebody else has started and that is known by its pidfd. Consumes `pidfd`. null when it has ended: then
   * the pid may be another one's.
   */
  static foreign(pid: number, pidfd: Descriptor): Process | null {
    const startTime = startTimeOf(pid);
    try {
      // Signal 0 only asks. That it lives after the reading makes the reading its own.
      native.pidfdSendSignal(pidfd.fd, 0);
    } catch (error) {
      if (!hasCode(error, "EPERM")) pidfd.close();
      if (hasCode(error, "ESRCH")) return null;
      if (!hasCode(error, "EPERM")) throw error;
    }
    if (startTime !== null) return new Process(pid, pidfd.take(), startTime, true);
    pidfd.close();
    return null;
  }

  /** Watches a process that runs already. null when it is gone or when the pid belongs to another one by now. */
  static adopt(pid: number, startTime: string, isForeign = false): Process | null {
    let pidfd: number;
    try {
      pidfd = native.pidfdOpen(pid);
    } catch (error) {
      if (hasCode(error, "ESRCH", "EINVAL")) return null;
      throw error;
    }
    try {
      // Read after the pidfd is open: from here on the pid cannot change hands unseen.
      if (startTimeOf(pid) === startTime) return new Process(pid, pidfd, startTime, isForeign);
    } catch (error) {
      native.close(pidfd);
      throw error;
    }
    native.close(pidfd);
    return null;
  }

  get exited(): boolean {
    return this.#status !== null;
  }

  /** Resolves when the process has ended; at once when it has already. */
  onExit(callback: (status: ExitStatus) => void): void {
    if (this.#status !== null) callback(this.#status);
    else this.#waiters.push(callback);
  }

  exit(): Promise<ExitStatus> {
    return new Promise((resolve) => this.onExit(resolve));
  }

  /** Sends a signal to the process. false when it is gone, or is foreign and not the daemon's to signal. */
  kill(signal: NodeJS.Signals): boolean {
    if (!this.#pidfd.open) return false;
    try {
      native.pidfdSendSignal(this.#pidfd.fd, constants.signals[signal]);
      return true;
    } catch (error) {
      if (hasCode(error, "ESRCH") || (this.isForeign && hasCode(error, "EPERM"))) return false;
      throw error;
    }
  }

  /**
   * Sends a signal to the process group that the process leads (0: only asks). false when nobody is left in it.
   * Safe while the process lives or its zombie has not been released. Of a foreign process, which need not lead its group, only the
   * process itself.
   */
  killGroup(signal: NodeJS.Signals | 0): boolean {
    if (!this.#pidfd.open) return false;
    if (this.isForeign) return signal === 0 ? !this.exited : this.kill(signal);
    try {
      process.kill(-this.pid, signal);
      return true;
    } catch (error) {
      if (hasCode(error, "ESRCH", "EPERM")) return false;
      throw error;
    }
  }

  /**
   * A duplicate of the process' descriptor `fd` (pidfd_getfd(2)), which is the caller's. null when it has closed that one, or has
   * ended. Throws EPERM where the process may not be looked into (ptrace(2), "access mode checking").
   */
  duplicate(fd: number): number | null {
    if (!this.#pidfd.open) return null;
    try {
      return native.pidfdGetfd(this.#pidfd.fd, fd);
    } catch (error) {
      if (hasCode(error, "EBADF", "ESRCH")) return null;
      throw error;
    }
  }

  /** Reaps the child when it has ended and lets the pidfd go. The pid means nothing afterwards. */
  release(): void {
    if (!this.#pidfd.open) return;
    this.#poll.close();
    this.#wait(true);
    this.#pidfd.close();
  }

  /** Releases the process as soon as it has ended: for one that nobody waits for any more. */
  abandon(): void {
    this.onExit(() => this.release());
  }

  #ended(): void {
    this.#poll.stop();
    this.#status = this.#wait(false) ?? UNKNOWN;
    for (const waiter of this.#waiters.splice(0)) waiter(this.#status);
  }

  #wait(reap: boolean): ExitStatus | null {
    try {
      return native.waitPidfd(this.#pidfd.fd, reap);
    } catch (error) {
      if (hasCode(error, "ECHILD")) return UNKNOWN; // Adopted: its parent, not we, learns the status.
      throw error;
    }
  }
}

/**
 * Kills and reaps a child, and closes its pidfd. It waits here and now, because there is no watcher to wait with: what was
 * just started ends within a millisecond of SIGKILL. One that the kernel does not let go (state D) stays, as a zombie.
 */
function destroy(pidfd: number): void {
  try {
    native.pidfdSendSignal(pidfd, constants.signals.SIGKILL);
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let waitedMs = 0; waitedMs < REAP_MS && native.waitPidfd(pidfd, true) === null; waitedMs++) {
      Atomics.wait(pause, 0, 0, 1);
    }
  } finally {
    native.close(pidfd);
  }
}

/** Field 22 of /proc/PID/stat (proc_pid_stat(5)); null when there is no such process. */
export function startTimeOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the name in brackets and may hold anything, brackets and blanks included.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH")) return null;
    throw error;
  }
}
