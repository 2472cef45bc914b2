/**
 * The receiving side of sd_notify(3): one datagram socket per instance. The socket itself is the instance's identity, not the
 * sender's pid, since tools such as systemd-notify speak from a short-lived child.
 */
import { rmSync } from "node:fs";
import { Allowance } from "./allowance.ts";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { closeForeign } from "./foreign.ts";
import { native, type NativePoll, type ReceivedMessage, SCM_MAX_FD } from "./native.ts";
import { setSocketAccess } from "./socket-file.ts";

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

/** In a turn of the loop, however many come meanwhile: as many as the kernel lets wait by default (net.unix.max_dgram_qlen). */
const MOST_IN_A_TURN = 10;
/**
 * How much of this process' time one socket may take, in milliseconds: so much at once, and so much in a second from then on. Who has
 * taken more is not read for as long as it takes; its messages wait in the socket, and then its sender.
 */
const BURST_MS = 2_000;
const MS_PER_SECOND = 50;
/** One message counts for no more: what the machine was slow at is not its sender's. */
const MOST_CHARGED_MS = 100;
/** And what is written down or said aloud for no less: a program has few occasions for it. */
const COST_OF_RECORD_MS = 5;

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
  readonly #allowance = new Allowance(BURST_MS, MS_PER_SECOND, performance.now());
  /** A request is under way: what comes after it waits in the socket. */
  #isBusy = false;
  #isPaused = false;
  /** The request that is under way. */
  #request: Promise<void> = Promise.resolve();
  /** Until it may take more of this process' time. */
  #rest: NodeJS.Timeout | null = null;

  private constructor(path: string, descriptor: Descriptor, onMessage: OnMessage, onStore: OnStore) {
    this.path = path;
    this.#descriptor = descriptor;
    this.#onMessage = onMessage;
    this.#onStore = onStore;
    this.#poll = new native.Poll(descriptor.fd, () => this.#read());
    this.#review();
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
      setSocketAccess(descriptor.fd, path, 0o600, owner?.uid ?? -1, owner?.gid ?? -1);
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

  /** Hears nothing any more, and removes the path. The socket is the caller's, and in it what was sent and not read (closeForeign). */
  end(): Descriptor {
    if (this.#rest !== null) clearTimeout(this.#rest);
    this.#poll.close();
    rmSync(this.path, { force: true });
    return new Descriptor(this.#descriptor.take());
  }

  close(): void {
    if (this.#descriptor.open) void closeForeign([this.end()]);
  }

  /** What is said waits, for `unpause` or for who goes on with the socket. Resolves when the request is done that is under way. */
  pause(): Promise<void> {
    this.#isPaused = true;
    this.#review();
    return this.#request;
  }

  unpause(): void {
    this.#isPaused = false;
    this.#review();
  }

  get #isRead(): boolean {
    return this.#descriptor.open && !this.#isBusy && !this.#isPaused && this.#rest === null;
  }

  #review(): void {
    if (!this.#descriptor.open) return;
    if (this.#isRead) {
      this.#poll.start();
      this.#poll.unref();
    } else this.#poll.stop();
  }

  #read(): void {
    for (let count = 0; count < MOST_IN_A_TURN && this.#isRead; count++) {
      let received;
      try {
        received = native.receiveMessage(this.#descriptor.fd, buffer, SCM_MAX_FD);
      } catch (error) {
        if (hasCode(error, "EAGAIN")) return;
        throw error;
      }
      if (received === null) return;
      this.#hear(received);
    }
  }

  #hear({ length, descriptors: numbers, descriptorsTruncated }: ReceivedMessage): void {
    const began = performance.now();
    const descriptors = numbers.map((fd) => new Descriptor(fd));
    const message = parseNotification(buffer.subarray(0, length));
    const request = storeRequestOf(message, descriptors, descriptorsTruncated);
    const isRecord = request !== null || message.has("STOPPING");
    try {
      this.#onMessage(message);
    } finally {
      // After the message has had its effect: that is also the answer to BARRIER=1 (sd_notify_barrier(3)), whose sender waits until
      // the other end of its pipe is closed.
      if (request === null && descriptors.length === 0) this.#charge(began, isRecord);
      else void this.#finish(request, descriptors, began);
    }
  }

  /** Nothing more comes before what has come is closed: at most one message's descriptors are ever waited for. */
  async #finish(
    request: StoreRequest | null,
    descriptors: readonly Descriptor[],
    began: number,
  ): Promise<void> {
    this.#isBusy = true;
    this.#review();
    try {
      if (request !== null) await (this.#request = this.#onStore(request));
    } finally {
      await closeForeign(descriptors);
      this.#isBusy = false;
      this.#charge(began, request !== null);
    }
  }

  #charge(began: number, isRecord: boolean): void {
    const now = performance.now();
    const cost = Math.min(now - began, MOST_CHARGED_MS) + (isRecord ? COST_OF_RECORD_MS : 0);
    const restMs = this.#allowance.charge(cost, now);
    if (restMs > 0 && this.#descriptor.open) {
      this.#rest = setTimeout(() => {
        this.#rest = null;
        this.#review();
      }, restMs);
      this.#rest.unref();
    }
    this.#review();
  }
}
