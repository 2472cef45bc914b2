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

/** FDSTORE=1 or FDSTOREREMOVE=1 (sd_notify(3)). */
export type StoreRequest =
  | {
      readonly do: "store";
      readonly name: string;
      /** FDPOLL=0 was not said: one that has hung up is not kept. */
      readonly isPolled: boolean;
      /** What is not taken is closed when the request is done. */
      readonly descriptors: readonly Descriptor[];
      /** Some were lost on the way: this process is at its RLIMIT_NOFILE. */
      readonly isTruncated: boolean;
    }
  | { readonly do: "remove"; readonly name: string };

/** What descriptors are called that come without FDNAME= (sd_notify(3)). */
const UNNAMED = "stored";

function storeRequestOf(
  message: ReadonlyMap<string, string>,
  descriptors: readonly Descriptor[],
  isTruncated: boolean,
): StoreRequest | null {
  const name = message.get("FDNAME");
  if (message.get("FDSTOREREMOVE") === "1") return name === undefined ? null : { do: "remove", name };
  if (message.get("FDSTORE") !== "1") return null;
  const isPolled = message.get("FDPOLL") !== "0";
  return { do: "store", name: name ?? UNNAMED, isPolled, descriptors, isTruncated };
}

const buffer = new Uint8Array(64 * 1024);

type OnMessage = (message: ReadonlyMap<string, string>) => void;
/** Nothing is read before it is done. Must not reject. */
type OnStore = (request: StoreRequest) => Promise<void>;

const NO_STORE: OnStore = () => Promise.resolve();

export class NotifySocket {
  readonly path: string;
  readonly #descriptor: Descriptor;
  readonly #poll: NativePoll;
  readonly #onMessage: OnMessage;
  readonly #onStore: OnStore;
  /** A request is under way: what comes after it waits in the socket. */
  #isBusy = false;

  private constructor(path: string, descriptor: Descriptor, onMessage: OnMessage, onStore: OnStore) {
    this.path = path;
    this.#descriptor = descriptor;
    this.#onMessage = onMessage;
    this.#onStore = onStore;
    this.#poll = new native.Poll(descriptor.fd, () => this.#read());
    this.#poll.start();
    this.#poll.unref();
  }

  /** Binds a new socket at `path`, which only `owner` (and root) can write to. A leftover at that path is replaced. */
  static open(
    path: string,
    owner: { readonly uid: number; readonly gid: number } | null,
    onMessage: OnMessage,
    onStore: OnStore = NO_STORE,
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
    return new NotifySocket(path, descriptor, onMessage, onStore);
  }

  /** Goes on with a socket that was kept while the daemon was away; what was sent meanwhile is read now. */
  static resume(
    path: string,
    descriptor: Descriptor,
    onMessage: OnMessage,
    onStore: OnStore = NO_STORE,
  ): NotifySocket {
    return new NotifySocket(path, descriptor, onMessage, onStore);
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

  #read(): void {
    while (this.#descriptor.open && !this.#isBusy) {
      let received;
      try {
        received = native.receiveMessage(this.#descriptor.fd, buffer, SCM_MAX_FD);
      } catch (error) {
        if (hasCode(error, "EAGAIN")) return;
        throw error;
      }
      if (received === null) return;
      const descriptors = received.descriptors.map((fd) => new Descriptor(fd));
      const message = parseNotification(buffer.subarray(0, received.length));
      const request = storeRequestOf(message, descriptors, received.descriptorsTruncated);
      try {
        this.#onMessage(message);
      } finally {
        // After the message has had its effect: that is also the answer to BARRIER=1 (sd_notify_barrier(3)), whose sender waits until
        // the other end of its pipe is closed.
        if (request === null) closeAll(descriptors);
        else void this.#store(request, descriptors);
      }
    }
  }

  async #store(request: StoreRequest, descriptors: readonly Descriptor[]): Promise<void> {
    this.#isBusy = true;
    this.#poll.stop();
    try {
      await this.#onStore(request);
    } finally {
      closeAll(descriptors);
      this.#isBusy = false;
      if (this.#descriptor.open) {
        this.#poll.start();
        this.#poll.unref();
      }
    }
  }
}

function closeAll(descriptors: readonly Descriptor[]): void {
  for (const descriptor of descriptors) descriptor.close();
}
