/**
 * The receiving side of sd_notify(3): one datagram socket per instance. The socket itself is the instance's identity, not the
 * sender's pid, since tools such as systemd-notify speak from a short-lived child.
 */
import { chmodSync, chownSync, rmSync } from "node:fs";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { native, type NativePoll, SCM_MAX_FD } from "./native.ts";

/** The assignments of one message, in order. Lines that are no assignment are left out (sd_notify(3)). */
export function parseNotification(bytes: Uint8Array): ReadonlyMap<string, string> {
  const assignments = new Map<string, string>();
  for (const line of new TextDecoder().decode(bytes).split("\n")) {
    const equals = line.indexOf("=");
    if (equals > 0) assignments.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return assignments;
}

const buffer = new Uint8Array(64 * 1024);

export class NotifySocket {
  readonly path: string;
  readonly #descriptor: Descriptor;
  readonly #poll: NativePoll;

  private constructor(
    path: string,
    descriptor: Descriptor,
    onMessage: (message: ReadonlyMap<string, string>) => void,
  ) {
    this.path = path;
    this.#descriptor = descriptor;
    this.#poll = new native.Poll(descriptor.fd, () => this.#read(onMessage));
    this.#poll.start();
    this.#poll.unref();
  }

  /** Binds a new socket at `path`, which only `owner` (and root) can write to. A leftover at that path is replaced. */
  static open(
    path: string,
    owner: { readonly uid: number; readonly gid: number } | null,
    onMessage: (message: ReadonlyMap<string, string>) => void,
  ): NotifySocket {
    const descriptor = new Descriptor(native.socket("unix", "dgram", true));
    try {
      rmSync(path, { force: true });
      native.bind(descriptor.fd, { family: "unix", path });
      chmodSync(path, 0o600);
      if (owner !== null) chownSync(path, owner.uid, owner.gid);
    } catch (error) {
      descriptor.close();
      throw error;
    }
    return new NotifySocket(path, descriptor, onMessage);
  }

  /** Goes on with a socket that was kept while the daemon was away; what was sent meanwhile is read now. */
  static resume(
    path: string,
    descriptor: Descriptor,
    onMessage: (message: ReadonlyMap<string, string>) => void,
  ): NotifySocket {
    return new NotifySocket(path, descriptor, onMessage);
  }

  /** For the keeper; stays this object's. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  close(): void {
    this.#poll.close();
    this.#descriptor.close();
    rmSync(this.path, { force: true });
  }

  #read(onMessage: (message: ReadonlyMap<string, string>) => void): void {
    while (this.#descriptor.open) {
      let received;
      try {
        received = native.receiveMessage(this.#descriptor.fd, buffer, SCM_MAX_FD);
      } catch (error) {
        if (hasCode(error, "EAGAIN")) return;
        throw error;
      }
      if (received === null) return;
      try {
        onMessage(parseNotification(buffer.subarray(0, received.length)));
      } finally {
        // Descriptors are not stored here. Closing them after the message has had its effect is also the answer to
        // BARRIER=1 (sd_notify_barrier(3)): the sender waits until the other end of its pipe is closed.
        for (const fd of received.descriptors) native.close(fd);
      }
    }
  }
}
