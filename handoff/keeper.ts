/**
 * Every slot is also held outside the daemon, so that the daemon's death does not close a member of a SO_REUSEPORT group (the
 * kernel would move the last member into the gap, and a gated candidate could get users). `handoff-keeper` is that
 * process: it keeps named descriptors and ends only when it is told to.
 */
import { rmSync } from "node:fs";
import { Channel } from "./channel.ts";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { errnoName } from "./errno.ts";
import { keeperFailed } from "./errors.ts";
import { DESCRIPTORS_PER_FRAME, listFrame, putFrame, releaseFrame, removeFrame } from "./messages.ts";
import { companion, native } from "./native.ts";
import { Process, startTimeOf } from "./process.ts";

const ANSWER_MS = 5_000;

/** What holds descriptors for a daemon that may die. */
export interface Keeper {
  /** Keeps a duplicate under `name`; one that was there is replaced. Returns when it is held. */
  put(name: string, fd: number): Promise<void>;
  /** Lets go of names. Unknown ones are fine. */
  remove(names: readonly string[]): Promise<void>;
  /** Everything that is held. The descriptors are the caller's. */
  list(): Promise<Map<string, Descriptor>>;
  /** Lets go of everything and ends. */
  release(): Promise<void>;
  /** Leaves it as it is. */
  close(): void;
}

/** `keeper: off`: nothing is held outside. */
export const NO_KEEPER: Keeper = {
  put: () => Promise.resolve(),
  remove: () => Promise.resolve(),
  list: () => Promise.resolve(new Map()),
  release: () => Promise.resolve(),
  close: () => undefined,
};

export class KeeperProcess implements Keeper {
  /** For telling it from strangers that hold the same sockets. */
  readonly pid: number;
  readonly #startTime: string;
  readonly #channel: Channel;
  /** Requests are answered in order, one at a time. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(channel: Channel, pid: number) {
    this.#channel = channel;
    this.pid = pid;
    this.#startTime = startTimeOf(pid) ?? "";
  }

  /** Connects to the keeper that listens at `path`; null when there is none. `pid`: its own, where that is known. */
  static connect(path: string, pid?: number): KeeperProcess | null {
    const descriptor = new Descriptor(native.socket("unix", "seqpacket", true));
    try {
      if (!native.connect(descriptor.fd, { family: "unix", path })) throw new Error("its queue is full");
      // The keeper says listen(2) itself, so that the socket's credentials are its own (unix(7), SO_PEERCRED).
      return new KeeperProcess(new Channel(descriptor), pid ?? native.peerCredentials(descriptor.fd).pid);
    } catch (error) {
      descriptor.close();
      if (hasCode(error, "ENOENT", "ECONNREFUSED")) return null;
      throw keeperFailed(`at ${path} cannot be reached`, error);
    }
  }

  /** Starts a keeper that listens at `path`. It outlives this process. */
  static start(path: string, standard: readonly [number, number, number]): KeeperProcess {
    const pid = spawnKeeper(path, standard);
    const keeper = KeeperProcess.connect(path, pid);
    if (keeper === null) throw keeperFailed("ended as soon as it was started");
    return keeper;
  }

  /** Ends one that does not answer: it would hold every port after the daemon's own end. */
  kill(): void {
    this.close();
    const stuck = Process.adopt(this.pid, this.#startTime);
    stuck?.kill("SIGKILL");
    stuck?.abandon();
  }

  /** Calls back when the keeper has gone, or has not answered in time. */
  watch(onGone: () => void): void {
    this.#channel.watch(onGone);
  }

  put(name: string, fd: number): Promise<void> {
    return this.#request("keep a descriptor", putFrame([name]), [fd]);
  }

  async remove(names: readonly string[]): Promise<void> {
    for (let start = 0; start < names.length; start += DESCRIPTORS_PER_FRAME) {
      await this.#request(
        "let a descriptor go",
        removeFrame(names.slice(start, start + DESCRIPTORS_PER_FRAME)),
      );
    }
  }

  list(): Promise<Map<string, Descriptor>> {
    return this.#inTurn(async () => {
      const received: { readonly name: string; readonly descriptor: Descriptor }[] = [];
      try {
        this.#channel.send(listFrame());
        for (;;) {
          const { message, descriptors } = await this.#channel.receive("the keeper's list", ANSWER_MS);
          const names = message.type === "items" ? message.names : [];
          received.push(
            ...descriptors.map((descriptor, index) => ({ name: names[index] ?? "", descriptor })),
          );
          if (message.type !== "items" || names.length !== descriptors.length) {
            throw this.#channel.violated("the keeper's list names other descriptors than it carries");
          }
          if (!message.more) break;
        }
        const held = new Map(received.map(({ name, descriptor }) => [name, descriptor]));
        if (held.size < received.length) {
          throw this.#channel.violated("the keeper's list names a descriptor twice");
        }
        return held;
      } catch (error) {
        for (const { descriptor } of received) descriptor.close();
        throw error;
      }
    });
  }

  async release(): Promise<void> {
    await this.#request("end", releaseFrame());
    this.close();
  }

  close(): void {
    this.#channel.close();
  }

  #request(what: string, frame: Uint8Array, descriptors: readonly number[] = []): Promise<void> {
    // A duplicate: the caller may close its own before this request's turn comes.
    const own = descriptors.map((fd) => new Descriptor(native.duplicate(fd)));
    return this.#inTurn(async () => {
      try {
        this.#channel.send(
          frame,
          own.map(({ fd }) => fd),
        );
        const { message, descriptors: surplus } = await this.#channel.receive(
          "the keeper's answer",
          ANSWER_MS,
        );
        for (const descriptor of surplus) descriptor.close();
        if (message.type === "fail") {
          throw keeperFailed(`could not ${what}: ${errnoName(message.errno)} (${message.text})`);
        }
        if (message.type !== "ok" || surplus.length > 0) {
          throw this.#channel.violated(
            `the keeper answered "${message.type}" with ${surplus.length} descriptors`,
          );
        }
      } finally {
        for (const descriptor of own) descriptor.close();
      }
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined); // Whoever asked gets the failure; the next in turn does not.
    return turn;
  }
}

/** The keeper's socket is bound here, so that its path is there as soon as the spawn has returned. Returns its pid. */
function spawnKeeper(path: string, standard: readonly [number, number, number]): number {
  using listening = new Descriptor(native.socket("unix", "seqpacket", true));
  try {
    rmSync(path, { force: true });
    native.bind(listening.fd, { family: "unix", path });
    native.listen(listening.fd, 8);
    const keeper = Process.spawn(
      companion("handoff-keeper"),
      ["handoff-keeper"],
      [],
      [...standard, listening.fd],
    );
    keeper.abandon();
    return keeper.pid;
  } catch (error) {
    throw keeperFailed("cannot be started", error);
  }
}
