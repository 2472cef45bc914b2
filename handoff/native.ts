/**
 * The addon's only importer. One function per system call, no policy.
 *
 * Failures throw a `SystemCallError` (a CodedError): `code` is the errno's name (`EADDRINUSE`), with `errno`
 * and `syscall`. Where a full or empty queue is an ordinary answer, the function says so by its result
 * instead (`false`, `null`): those are named below.
 *
 * Every descriptor that comes out of here has FD_CLOEXEC and belongs to the caller.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Where an inet socket is: a literal address, never a name. */
export interface InetAddress {
  readonly family: "inet" | "inet6";
  readonly host: string;
  readonly port: number;
}

/** A unix socket's address. An abstract name starts with "\0"; "" is an unnamed socket. */
export interface UnixAddress {
  readonly family: "unix";
  readonly path: string;
}

export type SocketAddress = InetAddress | UnixAddress;

/** Who is at the other end of a unix socket, as the kernel recorded it at connect (SO_PEERCRED, socket(7)). */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface ReceivedMessage {
  /** Bytes placed into the caller's buffer. 0 with no descriptors is the peer's end of file. */
  readonly length: number;
  /** Owned by the caller from here on, whatever else is wrong with the message. */
  readonly descriptors: readonly number[];
  /** MSG_TRUNC: the message was longer than the buffer. */
  readonly dataTruncated: boolean;
  /** MSG_CTRUNC: descriptors were lost on the way (no room, or RLIMIT_NOFILE of the receiver). */
  readonly descriptorsTruncated: boolean;
  /** The sender's credentials when SO_PASSCRED is set on the socket. */
  readonly credentials: PeerCredentials | null;
}

export interface SpawnedProcess {
  readonly pid: number;
  readonly pidfd: number;
}

/** How a child ended. Exactly one of `code` and `signal` is not null. */
export interface ExitStatus {
  readonly code: number | null;
  /** The signal's number. */
  readonly signal: number | null;
}

/** One socket as inet_diag tells it (sock_diag(7)). */
export interface DiagSocket {
  readonly state: number;
  readonly family: "inet" | "inet6";
  readonly localHost: string;
  readonly localPort: number;
  readonly remoteHost: string;
  readonly remotePort: number;
  /** 0 while nobody has accepted the connection (no file belongs to it yet). */
  readonly inode: number;
  readonly uid: number;
  /** 0 unless the asker has CAP_NET_ADMIN. */
  readonly mark: number;
}

export interface UserEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

/**
 * Watches a descriptor for readability on the loop of this environment. Level-triggered while started. Stop it before the descriptor
 * is closed; only in `onReadable`, and in its microtasks, `native.close` and `closeAside` do it themselves.
 */
export interface NativePoll {
  /** Calls `onReadable` whenever the descriptor is readable (or hung up), until `stop`. Starting twice is fine. */
  start(): void;
  stop(): void;
  /** Stops for good; idempotent. The descriptor itself stays the caller's. */
  close(): void;
  /** Whether the poll keeps the process alive. New polls do. */
  ref(): void;
  unref(): void;
}

interface NativeBinding {
  // --- descriptors ---
  close(fd: number): void;
  /** Closes `fd` in a thread of its own, however long that takes, and then `done` (-1: none). Both are consumed. See foreign.ts. */
  closeAside(fd: number, done: number): void;
  /** fcntl(F_DUPFD_CLOEXEC, 3). */
  duplicate(fd: number): number;
  setCloexec(fd: number, on: boolean): void;
  setNonblocking(fd: number, on: boolean): void;
  isNonblocking(fd: number): boolean;
  /** memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING). Written and read with node:fs. */
  memfd(name: string): number;
  /** pipe2(O_CLOEXEC): [read end, write end]. */
  pipe(): [number, number];
  /** flock(LOCK_EX | LOCK_NB); false when another open file holds it. */
  lockFile(fd: number): boolean;
  /** Whether both are one open file description (F_DUPFD_QUERY, before Linux 6.10 kcmp(2)). EPERM where neither may be asked. */
  isSameFile(first: number, second: number): boolean;
  /** Whether poll(2) says POLLHUP or POLLERR of it now. */
  isHungUp(fd: number): boolean;

  // --- sockets ---
  /** type: "stream" | "seqpacket" | "dgram"; always SOCK_CLOEXEC, SOCK_NONBLOCK only when asked. */
  socket(
    family: "inet" | "inet6" | "unix",
    type: "stream" | "seqpacket" | "dgram",
    nonblocking: boolean,
  ): number;
  /** socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK). */
  seqpacketPair(): [number, number];
  bind(fd: number, address: SocketAddress): void;
  /** false when the connection is under way (EINPROGRESS, EAGAIN). */
  connect(fd: number, address: SocketAddress): boolean;
  listen(fd: number, backlog: number): void;
  /** accept4(SOCK_CLOEXEC | SOCK_NONBLOCK); null when nothing waits (EAGAIN). */
  accept(fd: number): number | null;
  shutdown(fd: number, how: "read" | "write" | "both"): void;
  /** The file that a unix socket is bound to, whatever stands at its path by now (SIOCUNIXFILE; an O_PATH descriptor). Needs CAP_NET_ADMIN. */
  boundFile(fd: number): number;
  localAddress(fd: number): SocketAddress;
  remoteAddress(fd: number): SocketAddress;
  /** An int-valued socket option by its numbers; see `SO` below. */
  getOption(fd: number, level: number, name: number): number;
  setOption(fd: number, level: number, name: number, value: number): void;
  /** SO_COOKIE: unique for the life of the network namespace, never reused (socket(7)). */
  cookie(fd: number): bigint;
  peerCredentials(fd: number): PeerCredentials;
  /** SO_ATTACH_REUSEPORT_CBPF with `program`, an array of `struct sock_filter` (8 bytes each, native order). */
  attachReuseportFilter(fd: number, program: Uint8Array): void;
  /** TCP_INFO of a listening socket: tcpi_unacked is its accept queue, tcpi_sacked its backlog. */
  listenQueue(fd: number): { readonly length: number; readonly limit: number };

  // --- messages ---
  /**
   * One sendmsg with SCM_RIGHTS. The descriptors stay the caller's. `data` must not be empty: a message of 0 bytes
   * looks like end of file to the receiver. false when the queue is full (EAGAIN).
   */
  sendMessage(fd: number, data: Uint8Array, descriptors: readonly number[]): boolean;
  /** One recvmsg with MSG_CMSG_CLOEXEC and room for `maxDescriptors` (at most SCM_MAX_FD). null on EAGAIN. */
  receiveMessage(fd: number, buffer: Uint8Array, maxDescriptors: number): ReceivedMessage | null;

  // --- processes ---
  /**
   * clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD) and execve of `file` (an absolute path). Child descriptor i is a
   * duplicate of `descriptors[i]`; nothing else is inherited. All signal dispositions default, nothing blocked, own
   * session (setsid). Not reaped by libuv: wait with `waitPidfd`.
   */
  spawn(
    file: string,
    argv: readonly string[],
    environment: readonly string[],
    descriptors: readonly number[],
  ): SpawnedProcess;
  pidfdOpen(pid: number): number;
  pidfdSendSignal(pidfd: number, signal: number): void;
  /** pidfd_getfd(2): a duplicate of the descriptor `fd` of another process. */
  pidfdGetfd(pidfd: number, fd: number): number;
  /**
   * waitid(P_PIDFD, WEXITED | WNOHANG). null while the child runs. `reap: false` adds WNOWAIT: the zombie stays and
   * holds its pid and its process group's number. Throws ECHILD for what is not our child.
   */
  waitPidfd(pidfd: number, reap: boolean): ExitStatus | null;
  /** The inodes of the sockets that a process has open (/proc/PID/fd). ENOENT or ESRCH when it has gone. */
  socketInodes(pid: number): number[];
  /** getpgid(2); null when there is no such process. */
  processGroup(pid: number): number | null;
  /** Whether a nice value that was raised can be lowered again (CAP_SYS_NICE, RLIMIT_NICE): tried in a thread that ends with it. */
  canRaisePriority(): boolean;
  /**
   * execve(2) of this process: the pid, the children and the descriptors of `kept` and 0-2 stay, everything else ends. Does
   * not return; when it throws, nothing has changed. Only from the main thread. Whatever was pending in the event loop is gone.
   */
  replaceProgram(
    file: string,
    argv: readonly string[],
    environment: readonly string[],
    kept: readonly number[],
  ): void;
  /** getpwnam_r / getpwuid_r (NSS included); null when unknown. */
  lookupUser(nameOrUid: string | number): UserEntry | null;
  /** getgrnam_r; null when unknown. */
  lookupGroup(name: string): number | null;
  /** getgrouplist(3): every group of the user, `gid` included. */
  groupsOf(name: string, gid: number): number[];

  // --- diagnosis ---
  /**
   * inet_diag dump of TCP sockets whose local port is `localPort` (0: any) and whose state is in the bit mask
   * `states` (1 << TCP_x). One netlink dump; a dump that was interrupted (NLM_F_DUMP_INTR) is repeated by the addon.
   */
  diagSockets(family: "inet" | "inet6", states: number, localPort: number): DiagSocket[];
  /**
   * The TCP connection whose ends are `local` and `remote`, both of one family, looked up by its hash: what it costs does
   * not depend on how many there are, as that of a dump does. null when there is none.
   */
  diagConnection(local: InetAddress, remote: InetAddress): DiagSocket | null;
  /**
   * Counts TCP sockets in `states` by SO_MARK, of both families, where (mark & mask) === value, in the kernel
   * (INET_DIAG_BC_MARK_COND): those that a process has, and not what waits in an accept queue. Needs CAP_NET_ADMIN, else
   * EPERM. Returns pairs [mark, count].
   */
  countByMark(states: number, value: number, mask: number): [number, number][];
  /** UNIX_DIAG by inode with UDIAG_SHOW_RQLEN: the accept queue of a listening unix socket. */
  unixListenQueue(inode: number): { readonly length: number; readonly limit: number };
  /** The same of every listening unix socket of the network namespace, in pairs [inode, queue]. One netlink dump. */
  unixListenQueues(): [number, { readonly length: number; readonly limit: number }][];

  Poll: new (fd: number, onReadable: () => void) => NativePoll;
}

/** From <linux/netlink.h>-free headers: the numbers that this package uses, of x86_64 and arm64 alike. */
export const SO = {
  SOL_SOCKET: 1,
  SO_REUSEADDR: 2,
  SO_TYPE: 3,
  SO_LINGER: 13,
  SO_REUSEPORT: 15,
  SO_PASSCRED: 16,
  SO_ACCEPTCONN: 30,
  SO_MARK: 36,
  SO_PROTOCOL: 38,
  SO_DOMAIN: 39,
  SO_BINDTOIFINDEX: 62,
  SO_PEERPIDFD: 77,
  SO_PASSRIGHTS: 83,
  IPPROTO_TCP: 6,
  IPPROTO_IPV6: 41,
  IPV6_V6ONLY: 26,
  TCP_DEFER_ACCEPT: 9,
} as const;

/** <net/tcp_states.h> */
export const TCP = {
  ESTABLISHED: 1,
  SYN_RECV: 3,
  FIN_WAIT1: 4,
  FIN_WAIT2: 5,
  CLOSE_WAIT: 8,
  LISTEN: 10,
} as const;

/** The most descriptors that one message carries (net/core/scm.h). 254 is EINVAL. */
export const SCM_MAX_FD = 253;

/** The addon itself. What it receives it reports in numbers (napi_messages.cpp), since a call is dear that makes an object. */
interface Addon extends Omit<NativeBinding, "receiveMessage"> {
  /** The message's length, -1 on EAGAIN. `report`: flags, pid, uid, gid, how many descriptors, and these. */
  receiveMessage(fd: number, buffer: Uint8Array, maxDescriptors: number, report: Int32Array): number;
}

const [FLAGS, PID, UID, GID, COUNT, FIRST_DESCRIPTOR] = [0, 1, 2, 3, 4, 5] as const;
const DATA_TRUNCATED = 1;
const DESCRIPTORS_TRUNCATED = 2;
const HAS_CREDENTIALS = 4;
/** Written by each call and read before it returns. */
const report = new Int32Array(FIRST_DESCRIPTOR + SCM_MAX_FD);

function at(index: number): number {
  const number = report[index];
  if (number === undefined) throw new Error("the addon reports more than there is room for");
  return number;
}

function bindingOf(addon: Addon): NativeBinding {
  return {
    ...addon,
    receiveMessage(fd, buffer, maxDescriptors) {
      const length = addon.receiveMessage(fd, buffer, maxDescriptors, report);
      if (length < 0) return null;
      const flags = at(FLAGS);
      const descriptors: number[] = [];
      for (let i = 0; i < at(COUNT); i++) descriptors.push(at(FIRST_DESCRIPTOR + i));
      return {
        length,
        descriptors,
        dataTruncated: (flags & DATA_TRUNCATED) !== 0,
        descriptorsTruncated: (flags & DESCRIPTORS_TRUNCATED) !== 0,
        credentials: (flags & HAS_CREDENTIALS) === 0 ? null : credentials(),
      };
    },
  };
}

function credentials(): PeerCredentials {
  // The kernel's uid_t and gid_t are unsigned.
  return { pid: at(PID), uid: at(UID) >>> 0, gid: at(GID) >>> 0 };
}

const require = createRequire(import.meta.url);

function load(): NativeBinding {
  // From the sources (tests) this file is handoff/native.ts, compiled it is dist/handoff/native.js.
  for (const path of ["../build/Release/handoff.node", "../../build/Release/handoff.node"]) {
    try {
      return bindingOf(require(path) as Addon);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "MODULE_NOT_FOUND") continue;
      throw error;
    }
  }
  throw new Error("the addon is not built: run `npm run install` in the package's folder");
}

/** Stands in for an addon that cannot be loaded: it is missed where it is used, since an application runs without it (app.ts). */
function missing(why: unknown): NativeBinding {
  const refuse = (): never => {
    throw why;
  };
  return new Proxy({}, { get: refuse }) as NativeBinding;
}

function loadOrMiss(): { readonly native: NativeBinding; readonly problem: string | null } {
  try {
    return { native: load(), problem: null };
  } catch (error) {
    return { native: missing(error), problem: error instanceof Error ? error.message : String(error) };
  }
}

const loaded = loadOrMiss();

export const native: NativeBinding = loaded.native;

/** Why there is no addon; null: there is one. */
export const addonProblem: string | null = loaded.problem;

/** The absolute path of one of the addon's companions, built beside it. */
export function companion(name: "handoff-exec" | "handoff-keeper"): string {
  for (const path of ["../build/Release/", "../../build/Release/"]) {
    const file = fileURLToPath(new URL(path + name, import.meta.url));
    if (existsSync(file)) return file;
  }
  throw new Error(`${name} is not built: run \`npm run install\` in the package's folder`);
}
