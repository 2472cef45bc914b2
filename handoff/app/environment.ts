/**
 * What this process was given by whoever started it: handoffd, systemd's socket activation, or nobody. Works without the addon, except
 * for the channel.
 */
import { fstatSync } from "node:fs";
import { constants } from "node:os";
import { addonProblem, native, SO } from "../native.ts";

const FIRST = 3;
const SOCK_SEQPACKET = 5;

/** A descriptor under the name that it was given by (LISTEN_FDNAMES). */
export interface Inherited {
  readonly name: string;
  readonly fd: number;
}

export interface Surroundings {
  readonly inherited: readonly Inherited[];
  /** HANDOFF_FD; null without handoffd, or without the addon. */
  readonly channel: number | null;
  /** Why a channel that was given cannot be used. */
  readonly channelProblem: string | null;
  readonly drainSignal: NodeJS.Signals;
  /** How long handoffd lets a drain take; null: nobody said. */
  readonly drainTimeoutMs: number | null;
  /** Whether somebody supervises this process and ends it when its time is over. */
  readonly supervised: boolean;
}

/**
 * Takes it, once: what counts descriptors is removed from `environment`, since a child was given none of them (sd_listen_fds(3),
 * unset_environment).
 */
export function takeSurroundings(environment: NodeJS.ProcessEnv, pid: number): Surroundings {
  const { LISTEN_PID, LISTEN_FDS = "", LISTEN_FDNAMES = "", HANDOFF_FD = "" } = environment;
  const { HANDOFF_DRAIN_SIGNAL = "", HANDOFF_DRAIN_TIMEOUT_MS = "", NOTIFY_SOCKET = "" } = environment;
  for (const name of ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "HANDOFF_FD"]) {
    Reflect.deleteProperty(environment, name);
  }
  // They may be somebody else's, and we a child that inherited the words.
  const count = LISTEN_PID === String(pid) && /^\d+$/u.test(LISTEN_FDS) ? Number(LISTEN_FDS) : 0;
  const names = LISTEN_FDNAMES.split(":");
  const { channel, channelProblem } = findChannel(HANDOFF_FD, FIRST + count);
  return {
    inherited: Array.from({ length: count }, (_, index) => ({ name: names[index] ?? "", fd: FIRST + index })),
    channel,
    channelProblem,
    drainSignal: isSignal(HANDOFF_DRAIN_SIGNAL) ? HANDOFF_DRAIN_SIGNAL : "SIGTERM",
    drainTimeoutMs: /^\d+$/u.test(HANDOFF_DRAIN_TIMEOUT_MS) ? Number(HANDOFF_DRAIN_TIMEOUT_MS) : null,
    supervised: NOTIFY_SOCKET !== "" || channel !== null,
  };
}

function findChannel(word: string, least: number): Pick<Surroundings, "channel" | "channelProblem"> {
  const fd = /^\d+$/u.test(word) ? Number(word) : -1;
  if (fd < least) return { channel: null, channelProblem: null };
  if (addonProblem !== null) return { channel: null, channelProblem: addonProblem };
  // A child of a program that was given one inherits the word, and has something else at that number, or nothing.
  const isChannel = isOpen(fd) && fstatSync(fd).isSocket() && typeOf(fd) === SOCK_SEQPACKET;
  return { channel: isChannel ? fd : null, channelProblem: null };
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false; // EBADF, the one thing that fstat(2) says of a number.
  }
}

function typeOf(fd: number): number {
  return native.getOption(fd, SO.SOL_SOCKET, SO.SO_TYPE);
}

function isSignal(name: string): name is NodeJS.Signals {
  return name in constants.signals;
}
