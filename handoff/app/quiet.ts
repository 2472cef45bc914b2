/** A socket that is about to leave: nothing of it is read, and what the application writes to it is kept aside. */
import type { Socket } from "node:net";
import { descriptorOf, startReading, stopReading } from "./private.ts";

interface Write {
  readonly bytes: Uint8Array;
  readonly callback: ((error?: Error | null) => void) | undefined;
}

/** Those that are on the way, and nobody's. */
const leaving = new WeakSet<Socket>();

export function isLeaving(socket: Socket): boolean {
  return leaving.has(socket);
}

export class Quiet {
  readonly fd: number;
  /** What was received and not read by the application. */
  readonly unread: Uint8Array;
  readonly #socket: Socket;
  readonly #writes: Write[] = [];
  readonly #timeout: number;
  #length = 0;
  /** The application was told to wait for "drain". */
  #isFull = false;
  #ended = false;
  #isAsked = false;

  /** `ahead`: what the application has read and not used; it goes before what the socket has. */
  constructor(socket: Socket, ahead: readonly Uint8Array[] = []) {
    leaving.add(socket);
    this.#socket = socket;
    this.fd = descriptorOf(socket) ?? -1;
    this.#timeout = socket.timeout ?? 0;
    socket.setTimeout(0);
    stopReading(socket);
    // A stream that is resumed, or has room again, would begin to read: bytes that are the taker's. Two processes that write to one
    // connection would cut each other's words in two. shutdown(2), which end() comes to, would be the taker's as well.
    Object.assign(socket, {
      _read: () => (this.#isAsked = true),
      write: this.#write.bind(this),
      end: this.#end.bind(this),
    });
    this.unread = Buffer.concat([...ahead, ...takeUnread(socket)]);
  }

  /** It is served elsewhere. Returns what was written meanwhile. */
  taken(): Uint8Array | null {
    this.#socket.destroy();
    for (const { callback } of this.#writes) callback?.();
    return this.#writes.length === 0 ? null : Buffer.concat(this.#writes.map(({ bytes }) => bytes));
  }

  /** It is as it was. `ahead`: how much of `unread` is the application's already. */
  back(ahead = 0): void {
    const socket = this.#socket;
    leaving.delete(socket);
    for (const name of ["_read", "write", "end"]) Reflect.deleteProperty(socket, name);
    if (socket.destroyed) return;
    socket.setTimeout(this.#timeout);
    const unread = this.unread.subarray(ahead);
    if (unread.length > 0) socket.unshift(unread);
    for (const { bytes, callback } of this.#writes) socket.write(bytes, callback);
    if (this.#ended) socket.end();
    startReading(socket);
    // The stream waits for what it has asked for.
    if (this.#isAsked) socket._read(0);
    if (this.#isFull && !socket.writableNeedDrain) process.nextTick(() => socket.emit("drain"));
  }

  #write(chunk: Uint8Array | string, encoding?: unknown, callback?: unknown): boolean {
    const bytes =
      typeof chunk === "string"
        ? Buffer.from(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8")
        : Uint8Array.from(chunk);
    const then = typeof encoding === "function" ? encoding : callback;
    this.#writes.push({ bytes, callback: then as Write["callback"] });
    this.#length += bytes.length;
    this.#isFull ||= this.#length >= this.#socket.writableHighWaterMark;
    return !this.#isFull;
  }

  #end(chunk?: unknown, encoding?: unknown): Socket {
    if (typeof chunk === "string" || chunk instanceof Uint8Array) this.#write(chunk, encoding);
    this.#ended = true;
    return this.#socket;
  }
}

/** What the stream has, without its listeners hearing of it. */
function takeUnread(socket: Socket): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  const emit = socket.emit.bind(socket) as (...all: unknown[]) => boolean;
  // read() tells whoever listens to "data" as well.
  socket.emit = (name: string | symbol, ...args: unknown[]): boolean =>
    name === "data" || emit(name, ...args);
  try {
    for (
      let chunk = socket.read() as Uint8Array | null;
      chunk !== null;
      chunk = socket.read() as Uint8Array | null
    ) {
      chunks.push(chunk);
    }
  } finally {
    Reflect.deleteProperty(socket, "emit");
  }
  return chunks;
}
