/**
 * One listening socket of a listener. Never closed while the listener lives: what the kernel has queued on it, and its place in
 * the SO_REUSEPORT group, would go with it.
 */
import type { Descriptor } from "./descriptor.ts";
import { native, SO } from "./native.ts";

const AF_UNIX = 1;

/** Connections that wait to be accepted, and how many may. */
export interface Queue {
  readonly length: number;
  readonly limit: number;
}

/** A process that has a descriptor of the slot's socket. */
export interface Holder {
  readonly pid: number;
  readonly command: string;
}

export class Slot {
  readonly index: number;
  readonly inode: number;
  readonly #descriptor: Descriptor;
  readonly #readQueue: (slot: Slot) => Queue;
  /** The generation that has the slot, such as "api/3"; null while it is idle. */
  owner: string | null = null;
  /**
   * Whether it is known that no handshake is under way on it: looked at after its weight became 0, and without weight since.
   * Looking costs milliseconds (a dump of the kernel's whole table), so it is done once.
   */
  isSettled = false;
  /** Processes that nobody answers for and that hold the socket: the slot is not given away while there are any. */
  holders: readonly Holder[] = [];

  /** Takes ownership of the descriptor, which listens already. */
  constructor(index: number, descriptor: Descriptor, readQueue: (slot: Slot) => Queue) {
    this.index = index;
    this.#descriptor = descriptor;
    this.#readQueue = readQueue;
    this.inode = descriptor.inode();
  }

  /** For a system call or a grant; stays the slot's. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  get cookie(): bigint {
    return native.cookie(this.fd);
  }

  /** SO_MARK of the socket, which accepted connections inherit; 0 when marks are off. */
  get mark(): number {
    return native.getOption(this.fd, SO.SOL_SOCKET, SO.SO_MARK);
  }

  set mark(mark: number) {
    native.setOption(this.fd, SO.SOL_SOCKET, SO.SO_MARK, mark);
  }

  get queue(): Queue {
    return this.#readQueue(this);
  }

  /**
   * Says the backlog again: applications change it on the description that all share (Node sets 511). On a listening
   * socket listen(2) changes nothing else.
   */
  assertBacklog(backlog: number): void {
    native.listen(this.fd, backlog);
  }

  /**
   * Puts the socket as a fresh one would be: O_NONBLOCK lives on the description that all share, options on the socket, and the
   * last owner may have set them.
   */
  assertFresh(backlog: number): void {
    this.assertBacklog(backlog);
    native.setNonblocking(this.fd, false);
    if (this.defersAccept) native.setOption(this.fd, SO.IPPROTO_TCP, SO.TCP_DEFER_ACCEPT, 0);
  }

  /** Whether its owner has set TCP_DEFER_ACCEPT: a connection is then queued only with its first byte (tcp(7)). */
  get defersAccept(): boolean {
    return (
      native.getOption(this.fd, SO.SOL_SOCKET, SO.SO_DOMAIN) !== AF_UNIX &&
      native.getOption(this.fd, SO.IPPROTO_TCP, SO.TCP_DEFER_ACCEPT) > 0
    );
  }

  /**
   * Accepts and closes whatever waits, or the first `most` of it. For a slot that never had weight: nobody but our own proofs is in
   * there; and for connections that have no client any more.
   */
  discardQueue(most = Infinity): void {
    native.setNonblocking(this.fd, true);
    for (let left = most; left > 0; left--) {
      const fd = native.accept(this.fd);
      if (fd === null) return;
      native.close(fd);
    }
  }

  /** Only with the whole listener. */
  close(): void {
    this.#descriptor.close();
  }
}

/** The queue of a slot that is a TCP socket. */
export function tcpQueue(slot: Slot): Queue {
  return native.listenQueue(slot.fd);
}

/** The queue of a slot that is a unix socket. */
export function unixQueue(slot: Slot): Queue {
  return native.unixListenQueue(slot.inode);
}
