/**
 * The proof that a generation accepts on *our* socket: a pinned connection leaves its slot's queue and turns up in one of its processes.
 * "Healthy" is not enough: a program that ignores what it inherited and binds a port of its own is healthy too.
 */
import type { Socket } from "node:net";
import { messageOf } from "../../handoff/coded-error.ts";
import type { Listener } from "../../handoff/listener.ts";
import { native, TCP } from "../../handoff/native.ts";
import { connectPinned, isClosedByServer, serverSide } from "../../handoff/pin.ts";
import type { Slot } from "../../handoff/slot.ts";
import { pause } from "../generation/ending.ts";
import { notAccepting } from "../errors.ts";
import { familyHolds, familyOf, socketsOf, commandOf } from "../proc.ts";

/**
 * A queue says nothing when it becomes empty: it is looked at (a system call), each time after a fiftieth of what has been
 * waited already, so that looking adds no more than that to any application's start.
 */
const LOOK_SHARE = 1 / 50;
const SHORTEST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 25;
/** After so many vain searches (some 70 ms) someone else has the connection: an acceptor, which has the current generation's slots too. */
const SEARCHES = 8;

export interface Candidate {
  /** "api/3" */
  readonly name: string;
  readonly pids: () => readonly number[];
}

/**
 * Returns when one of the candidate's processes has accepted a pinned connection on the slot. Throws
 * GENERATION_NOT_ACCEPTING, with what its processes do instead, at the deadline (performance.now(), milliseconds), which may be put off; the
 * signal's reason when that is aborted.
 */
export async function proveAccepting(
  listener: Listener,
  slot: Slot,
  candidate: Candidate,
  deadline: () => number,
  signal: AbortSignal,
): Promise<void> {
  using _pins = listener.honourPins();
  const began = performance.now();
  const fail = (why: string) =>
    notAccepting(candidate.name, listener.name, listener.address, secondsSince(began), why);
  let socket: Socket | null = null;
  // Users may wait there as well (recreate, a resume), and come as fast as they are taken: the queue need not become empty.
  let longest = 0;
  try {
    for (let taken = 0; ;) {
      signal.throwIfAborted();
      if (performance.now() > deadline()) {
        listener.assertAlone(); // One that binds our own address by itself is told so.
        throw fail(whyNot(listener, slot, candidate));
      }
      // One connection waits for its acceptor; a new one only when the application has ended it, or another process has it.
      if (taken >= SEARCHES) socket?.destroy();
      if (socket === null || socket.destroyed) {
        socket = await knock(listener, slot, deadline, fail);
        taken = 0;
      }
      // With TCP_DEFER_ACCEPT the kernel queues nobody who is silent. An empty line is what HTTP servers skip (RFC 9112, 2.2).
      if (slot.defersAccept && socket.bytesWritten === 0) socket.write("\r\n");
      const { length } = slot.queue;
      const isTaken = length === 0 || length < longest;
      longest = Math.max(longest, length);
      if (isTaken && accepted(listener, slot, socket, candidate)) return;
      // Who took it is searched through /proc: that costs more, and is not asked as often.
      if (isTaken) taken++;
      await pause(isTaken ? searchAfter(taken) : lookAfter(performance.now() - began), signal);
    }
  } finally {
    socket?.destroy();
  }
}

async function knock(
  listener: Listener,
  slot: Slot,
  deadline: () => number,
  fail: (why: string) => Error,
): Promise<Socket> {
  try {
    const socket = await connectPinned(listener.probe(slot), Math.max(1, deadline() - performance.now()));
    // Or its end would not be noticed.
    socket.resume();
    return socket;
  } catch (error) {
    throw fail(messageOf(error));
  }
}

function lookAfter(waitedMs: number): number {
  return Math.min(LONGEST_LOOK_MS, Math.max(SHORTEST_LOOK_MS, waitedMs * LOOK_SHARE));
}

function searchAfter(times: number): number {
  return Math.min(LONGEST_LOOK_MS, SHORTEST_LOOK_MS * 1.5 ** times);
}

/** To the tenth. */
function secondsSince(began: number): number {
  return Math.round((performance.now() - began) / 100) / 10;
}

function accepted(listener: Listener, slot: Slot, socket: Socket, candidate: Candidate): boolean {
  // The slot is the candidate's alone, and a unix connection cannot be found from its other end.
  if (listener.protocol === "unix") return true;
  const server = serverSide(socket);
  if (server === null) return false;
  // Accepted from another socket at the same address: one that the candidate has bound by itself.
  if (server.mark !== 0 && server.mark !== slot.mark) return false;
  // An application may close at once what does not speak to it; the slot is the candidate's alone.
  if (server.inode === 0) return server.mark !== 0 && isClosedByServer(server);
  return familyHolds(candidate.pids(), server.inode);
}

/** What the candidate's processes do instead of accepting, as far as /proc and inet_diag tell. */
export function whyNot(listener: Listener, slot: Slot, candidate: Candidate): string {
  const family = candidate.pids().flatMap((pid) => familyOf(pid));
  const sockets = new Map(family.map((pid) => [pid, socketsOf(pid)]));
  const has = family.filter((pid) => sockets.get(pid)?.has(slot.inode) === true);
  const lost = family.filter((pid) => sockets.get(pid)?.has(slot.inode) === false);
  const elsewhere = listensElsewhere(listener, sockets);
  if (elsewhere !== null && lost.length > 0 && has.length > 0 && lost.includes(elsewhere.pid)) {
    return `${wrapper(lost)}; that one listens on ${elsewhere.address} by itself`;
  }
  if (elsewhere !== null) {
    return `it listens on ${elsewhere.address} by itself (pid ${elsewhere.pid}) instead of on the descriptor that it was given; make it listen on descriptor 3 (LISTEN_FDS)`;
  }
  if (has.length > 0 && lost.length > 0) return wrapper(lost);
  if (has.length === 0)
    return "none of its processes has the socket any more; it closed the descriptor it was given";
  return `it has the socket but accepts no connection from it (${slot.queue.length} waiting); does it listen on descriptor 3 (LISTEN_FDS)?`;
}

function wrapper(lost: readonly number[]): string {
  const names = lost.map((pid) => `pid ${pid}, ${commandOf(pid)}`).join("; ");
  return `its child (${names}) did not inherit the descriptors: npm start, and node started by node, lose them; start the program itself, or let a shell wrapper end in exec`;
}

function listensElsewhere(
  listener: Listener,
  sockets: ReadonlyMap<number, ReadonlySet<number>>,
): { readonly pid: number; readonly address: string } | null {
  const ours = new Set(listener.slots.map(({ inode }) => inode));
  for (const family of ["inet", "inet6"] as const) {
    for (const entry of native.diagSockets(family, 1 << TCP.LISTEN, 0)) {
      if (ours.has(entry.inode)) continue;
      const owner = [...sockets].find(([, inodes]) => inodes.has(entry.inode));
      if (owner !== undefined) {
        const host = entry.localHost.includes(":") ? `[${entry.localHost}]` : entry.localHost;
        return { pid: owner[0], address: `${host}:${entry.localPort}` };
      }
    }
  }
  return null;
}
