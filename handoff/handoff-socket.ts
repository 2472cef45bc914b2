/** The socket on which launchers that someone else has started ask for their descriptors (docs/wire.md, JOIN). */
import { rmSync } from "node:fs";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { native, type NativePoll } from "./native.ts";
import { setSocketAccess } from "./socket-file.ts";

const BACKLOG = 128;

/**
 * Who may connect at all, as far as a file's owner, group and mode can say it; null: the daemon's own. Whoever connects is looked
 * at all the same.
 */
export type SocketAccess = "anyone" | { readonly uid: number | null; readonly gid: number | null };

export class HandoffSocket {
  readonly path: string;
  readonly #descriptor: Descriptor;
  #poll: NativePoll | null = null;

  private constructor(path: string, descriptor: Descriptor) {
    this.path = path;
    this.#descriptor = descriptor;
  }

  /** Binds and listens. A leftover at that path is replaced, a socket that someone listens on is not: EADDRINUSE. Throws a SystemCallError. */
  static open(path: string, access: SocketAccess): HandoffSocket {
    const descriptor = new Descriptor(native.socket("unix", "seqpacket", true));
    try {
      if (!isListening(path)) rmSync(path, { force: true });
      native.bind(descriptor.fd, { family: "unix", path });
      allow(descriptor.fd, path, access);
      native.listen(descriptor.fd, BACKLOG);
    } catch (error) {
      descriptor.close();
      throw error;
    }
    return new HandoffSocket(path, descriptor);
  }

  /** Goes on with one that is open: `descriptor` is its own from here on. */
  static resume(path: string, descriptor: Descriptor): HandoffSocket {
    return new HandoffSocket(path, descriptor);
  }

  /** For the next image; stays this object's. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  /** Throws as `open` does. */
  allow(access: SocketAccess): void {
    allow(this.fd, this.path, access);
  }

  /**
   * Each connection is `onConnection`'s. When one cannot be accepted (EMFILE) none is until `accept` is called again: it would be tried
   * without end.
   */
  accept(
    onConnection: (connection: Descriptor) => void,
    onFailure: (error: unknown) => void = () => undefined,
  ): void {
    this.#poll ??= new native.Poll(this.#descriptor.fd, () => {
      let connection: number | null;
      try {
        // One at a time: the loop asks again while others wait.
        connection = native.accept(this.#descriptor.fd);
      } catch (error) {
        this.pause();
        onFailure(error);
        return;
      }
      if (connection !== null) onConnection(new Descriptor(connection));
    });
    this.#poll.start();
    this.#poll.unref();
  }

  /** Whoever connects waits in the queue until `accept` is called again. */
  pause(): void {
    this.#poll?.stop();
  }

  /** Removes the path, too, unless another one is there by now. */
  close(removesPath = true): void {
    this.#poll?.close();
    this.#descriptor.close();
    if (removesPath) rmSync(this.path, { force: true });
  }
}

/** Connecting needs the right to write (unix(7)). */
function allow(socket: number, path: string, access: SocketAccess): void {
  if (access === "anyone") {
    setSocketAccess(socket, path, 0o666, -1, -1);
    return;
  }
  const { uid, gid } = access;
  try {
    // The owner may change the mode of the file. That lets others knock, and nothing more.
    const [owner, group] = [uid ?? process.getuid?.() ?? 0, gid ?? process.getgid?.() ?? 0];
    setSocketAccess(socket, path, gid === null ? 0o600 : 0o660, owner, group);
  } catch (error) {
    // Only root gives files away: then the mode says nothing.
    if (!hasCode(error, "EPERM")) throw error;
    setSocketAccess(socket, path, 0o666, -1, -1);
  }
}

function isListening(path: string): boolean {
  using probe = new Descriptor(native.socket("unix", "seqpacket", true));
  try {
    native.connect(probe.fd, { family: "unix", path });
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT", "ECONNREFUSED", "ENOTSOCK", "ENOTDIR", "EPROTOTYPE")) return false;
    throw error;
  }
}
