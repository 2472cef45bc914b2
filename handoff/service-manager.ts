/**
 * The service manager that has started this process (systemd), by its two published ways: what it is told goes to NOTIFY_SOCKET
 * (sd_notify(3)), what it gives is at descriptors 3, 4, … (sd_listen_fds(3)). Through the addon, as descriptors go along.
 */
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { timedOut } from "./errors.ts";
import { native } from "./native.ts";

const FIRST = 3;
const RETRY_MS = 10;

/** A descriptor that the service manager gave, with its name (FileDescriptorName=, FDNAME=). */
export interface Given {
  readonly name: string;
  readonly descriptor: Descriptor;
}

/**
 * Takes what the service manager gave, once: LISTEN_FDS and its companions are removed from `environment`, since neither a child
 * nor the program after an exec in place was given anything by them. The descriptors are the caller's, with FD_CLOEXEC
 * (the manager leaves it off). To be called before anything else is opened or started.
 */
export function takeGiven(environment: NodeJS.ProcessEnv, pid: number): Given[] {
  const { LISTEN_PID: forPid, LISTEN_FDS: count = "", LISTEN_FDNAMES: names = "" } = environment;
  for (const name of ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"]) {
    Reflect.deleteProperty(environment, name);
  }
  // They were somebody else's, and we are a child that inherited the words.
  if (forPid !== String(pid) || !/^\d+$/u.test(count)) return [];
  const words = names.split(":");
  return Array.from({ length: Number(count) }, (_, index) => {
    native.setCloexec(FIRST + index, true);
    return { name: words[index] ?? "", descriptor: new Descriptor(FIRST + index) };
  });
}

/** Says things to the service manager. One datagram each; they arrive in the order in which they were sent. */
export class Notifier {
  readonly #path: string;

  /** `path` as in NOTIFY_SOCKET: absolute, or abstract with a leading "@". */
  constructor(path: string) {
    this.#path = path.replace(/^@/u, "\0");
  }

  /** null where nobody wants to be told. */
  static find(environment: NodeJS.ProcessEnv): Notifier | null {
    const { NOTIFY_SOCKET: path = "" } = environment;
    // vsock: is how a virtual machine tells its host; nothing is kept there.
    return path.startsWith("/") || path.startsWith("@") ? new Notifier(path) : null;
  }

  /**
   * Sends assignments, one a line. false when the manager's queue is full. Throws a SystemCallError when there is nobody. The
   * descriptors stay the caller's.
   */
  trySend(state: string, descriptors: readonly number[] = []): boolean {
    // Connected anew each time: the manager may have bound another socket at that path meanwhile.
    using socket = new Descriptor(native.socket("unix", "dgram", true));
    native.connect(socket.fd, { family: "unix", path: this.#path });
    return native.sendMessage(socket.fd, new TextEncoder().encode(state), descriptors);
  }

  /** As `trySend`, but waits for room. Throws HANDOFF_TIMEOUT after `deadlineMs`. */
  async send(state: string, descriptors: readonly number[], deadlineMs: number): Promise<void> {
    const until = performance.now() + deadlineMs;
    while (!this.#sendOrFull(state, descriptors)) {
      if (performance.now() > until) throw timedOut("the service manager's answer", deadlineMs);
      // A datagram socket whose peer's queue is full gives an event only for writing, which nobody here watches.
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #sendOrFull(state: string, descriptors: readonly number[]): boolean {
    try {
      return this.trySend(state, descriptors);
    } catch (error) {
      // Descriptors in flight count against RLIMIT_NOFILE until the manager has received them (unix(7)).
      if (hasCode(error, "ETOOMANYREFS", "ENOBUFS")) return false;
      throw error;
    }
  }

  /**
   * Returns when the manager has done all that it was told before (BARRIER=1, sd_notify_barrier(3): it closes the pipe's end
   * that it was sent). Throws HANDOFF_TIMEOUT after `deadlineMs`.
   */
  async barrier(deadlineMs: number): Promise<void> {
    const [read, write] = native.pipe();
    using ours = new Descriptor(read);
    {
      using theirs = new Descriptor(write);
      await this.send("BARRIER=1", [theirs.fd], deadlineMs);
    }
    await hungUp(ours.fd, deadlineMs);
  }
}

function hungUp(fd: number, deadlineMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const poll = new native.Poll(fd, () => finish(resolve));
    const timer = setTimeout(
      () => finish(() => reject(timedOut("the service manager's answer", deadlineMs))),
      deadlineMs,
    );
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      poll.close();
      settle();
    };
    poll.start();
  });
}
