/**
 * The application's end of HANDOFF_FD (docs/wire.md). The daemon says nothing on it but ROUTE; what is said to the daemon is not
 * answered, and is accounting except for HELLO and WANT.
 */
import { FrameSocket, type Heard } from "./frames.ts";
import { Descriptor } from "../descriptor.ts";
import { asText, asU32, encodeFrame, type Field, textField, u32Field } from "../frame.ts";
import { native } from "../native.ts";

const TYPE = { hello: 6, route: 7, want: 8, took: 9, moved: 10 } as const;
const KEY = { count: 3, kind: 11, direction: 12, held: 13, failed: 14 } as const;
const DIRECTION_SEND = 0;
const DIRECTION_TAKE = 1;

/** One end of a pair whose other end another instance has. */
export interface Offered {
  readonly direction: "send" | "take";
  /** What the taker can take; of a pair on which we take: nothing. */
  readonly kinds: readonly string[];
  readonly descriptor: Descriptor;
}

/** A connection that this process serves now. */
export interface Held {
  readonly fd: number;
  readonly cookie: bigint;
  readonly listener: string;
}

/** A frame is 16 KiB at most, and a listener's name 255 bytes. */
const HELD_PER_FRAME = 32;
/** A daemon that is being replaced does not read; its channel is kept for the next one. */
const RETRY_MS = 50;

export class DaemonChannel {
  readonly #socket: FrameSocket;
  readonly #onRoute: (offered: Offered) => void;
  readonly #queue: Uint8Array[] = [];
  #retry: NodeJS.Timeout | undefined;

  /** `fd` is the channel's own from here on. `onEnd`: there is nobody to ask any more. */
  constructor(fd: number, onRoute: (offered: Offered) => void, onEnd: (why: string | null) => void) {
    this.#onRoute = onRoute;
    native.setNonblocking(fd, true);
    native.setCloexec(fd, true);
    this.#socket = new FrameSocket(new Descriptor(fd), (heard) => this.#hear(heard), onEnd);
    this.#socket.unref();
  }

  get open(): boolean {
    return this.#socket.open;
  }

  hello(kinds: readonly string[]): void {
    this.#say(
      TYPE.hello,
      kinds.map((kind) => textField(KEY.kind, kind)),
    );
  }

  want(): void {
    this.#say(TYPE.want, []);
  }

  took(held: readonly Held[]): void {
    for (let at = 0; at < held.length; at += HELD_PER_FRAME) {
      this.#say(TYPE.took, held.slice(at, at + HELD_PER_FRAME).map(heldField));
    }
  }

  moved(count: number, failed: number): void {
    this.#say(TYPE.moved, [u32Field(KEY.count, count), u32Field(KEY.failed, failed)]);
  }

  /** Routes that are there already are offered before it returns: they come before the signal to drain. */
  hearAll(): void {
    this.#socket.hearAll();
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#socket.close();
  }

  #say(type: number, fields: readonly Field[]): void {
    this.#queue.push(encodeFrame({ type, flags: 0, fields }));
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#retry);
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (this.#socket.send(next) === "full") {
        this.#retry = setTimeout(() => this.#flush(), RETRY_MS);
        this.#retry.unref();
        return;
      }
      this.#queue.shift(); // Or nobody is there: what is said then is for nobody.
    }
  }

  #hear({ frame, descriptors, lost }: Heard): string | null {
    const [fd, ...more] = descriptors;
    const direction = asU32(frame.fields.find(({ key }) => key === KEY.direction));
    const isRoute =
      frame.type === TYPE.route && (direction === DIRECTION_SEND || direction === DIRECTION_TAKE);
    if (lost || !isRoute || fd === undefined || more.length > 0) {
      for (const each of descriptors) native.close(each);
      // At the limit of open files a route is not had, and that is all.
      return lost ? null : "the daemon says nothing but ROUTE, with one descriptor";
    }
    const kinds = frame.fields.flatMap((field) => (field.key === KEY.kind ? (asText(field) ?? []) : []));
    const descriptor = new Descriptor(fd);
    this.#onRoute({ direction: direction === DIRECTION_SEND ? "send" : "take", kinds, descriptor });
    return null;
  }
}

function heldField({ fd, cookie, listener }: Held): Field {
  const name = new TextEncoder().encode(listener);
  const value = new Uint8Array(12 + name.length);
  const view = new DataView(value.buffer);
  view.setUint32(0, fd, true);
  view.setBigUint64(4, cookie, true);
  value.set(name, 12);
  return { key: KEY.held, value };
}
