/**
 * Who is at the other end of a unix socket: the kernel recorded it at connect, and nobody can claim to be another one.
 *
 * SO_PEERPIDFD (since Linux 6.5) is the process itself. Before, the pid of SO_PEERCRED may have changed hands since the connect:
 * then the process must have begun before the connection was accepted, and belong to the user who connected.
 */
import { readFileSync, statSync } from "node:fs";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { native, type PeerCredentials, SO } from "./native.ts";
import { Process, startTimeOf } from "./process.ts";

/** USER_HZ of every architecture that Node runs on: the unit of a start time (proc_pid_stat(5)). */
const TICKS_PER_SECOND = 100;

/**
 * The process that connected, watched from here on: the caller's to release. null when it has ended, or is in a pid namespace
 * that cannot be seen from here (then its pid is 0). `fd` stays the caller's.
 */
export function peerProcess(fd: number, credentials: PeerCredentials): Process | null {
  const { pid, uid } = credentials;
  if (pid <= 0) return null;
  const pidfd = peerPidfd(fd) ?? openPidfd(pid, uid);
  return pidfd === null ? null : Process.foreign(pid, pidfd);
}

/** Owned by the caller. null where the kernel does not know the option, or the process is gone. */
function peerPidfd(fd: number): Descriptor | null {
  try {
    return new Descriptor(native.getOption(fd, SO.SOL_SOCKET, SO.SO_PEERPIDFD));
  } catch (error) {
    if (hasCode(error, "ENOPROTOOPT", "ESRCH", "EINVAL", "ENODATA")) return null;
    throw error;
  }
}

/** Owned by the caller. null when the pid is not, or not surely, that of the process that connected. */
function openPidfd(pid: number, uid: number): Descriptor | null {
  let pidfd: Descriptor;
  try {
    pidfd = new Descriptor(native.pidfdOpen(pid));
  } catch (error) {
    if (hasCode(error, "ESRCH", "EINVAL")) return null;
    throw error;
  }
  if (isOlderThanNow(pid) && ownerOf(pid) === uid) return pidfd;
  pidfd.close();
  return null;
}

/** Whether it had begun a tick ago: one that was begun in place of the peer since then is younger. */
function isOlderThanNow(pid: number): boolean {
  const began = startTimeOf(pid);
  const uptime = Number(readFileSync("/proc/uptime", "latin1").split(" ")[0]);
  return began !== null && Number(began) <= uptime * TICKS_PER_SECOND;
}

/** The effective user of a process, to whom its folder in /proc belongs (proc(5)). */
function ownerOf(pid: number): number | null {
  try {
    return statSync(`/proc/${pid}`).uid;
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH")) return null;
    throw error;
  }
}
