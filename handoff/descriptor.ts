/** One descriptor, one owner. Whoever holds a `Descriptor` ends it: by `close()`, or by `take()`, which hands it on. */
import { fstatSync } from "node:fs";
import { native } from "./native.ts";

export class Descriptor implements Disposable {
  #fd: number;

  /** Takes ownership of `fd`. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** The number, for a system call that does not keep it. Throws once the descriptor was closed or taken. */
  get fd(): number {
    if (this.#fd < 0) throw new Error("the descriptor was closed or handed on already");
    return this.#fd;
  }

  get open(): boolean {
    return this.#fd >= 0;
  }

  /** Hands the number to a new owner; this object no longer closes it. */
  take(): number {
    const fd = this.fd;
    this.#fd = -1;
    return fd;
  }

  duplicate(): Descriptor {
    return new Descriptor(native.duplicate(this.fd));
  }

  /** The inode number: for a socket that of sockfs, unique among the sockets that exist now. */
  inode(): number {
    return fstatSync(this.fd).ino;
  }

  close(): void {
    if (this.#fd >= 0) native.close(this.take());
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The descriptor of that name, which is the caller's from here on; null when it was not kept. */
export function takeFrom(kept: Map<string, Descriptor>, name: string): Descriptor | null {
  const found = kept.get(name) ?? null;
  kept.delete(name);
  return found;
}
