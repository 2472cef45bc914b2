/**
 * Server-sent events to readers that nobody waits for. Nothing is queued for a reader: it has a place in what is kept
 * anyway (the event log), and gets what follows when its connection can take it. So a reader that does not read
 * costs what the kernel holds for it and one piece of text. After a minute of that it is dropped; when it comes back
 * with Last-Event-ID it goes on where it was, or learns by a `gap` that something is not kept any more.
 *
 * An idle stream carries a comment every 15 s, so that both ends notice when the other is gone. The timer for that
 * exists only while there are readers.
 */
import type { ServerResponse } from "node:http";

export interface Message {
  readonly event: string;
  readonly id?: number;
  readonly data: unknown;
}

export interface EventStreamsOptions {
  readonly heartbeatMs?: number;
  /** For how long a reader may take nothing while something waits for it. */
  readonly stallMs?: number;
}

export const END = Symbol("end");

/** Where a stream's messages come from: asked for the next one when the reader can take it. */
export interface Source {
  /** The next text (see `format`); null: nothing now; END: nothing ever again. */
  readonly next: () => string | typeof END | null;
  /** Called once, whichever side ended the stream. */
  readonly onClose: () => void;
}

export interface EventStream {
  /** Says that the source may have something. */
  wake(): void;
  /** Ends the stream in order. The reader takes it for an interruption unless a message `end` was sent before. */
  end(): void;
  readonly closed: boolean;
}

/** As much is written at once. */
const PIECE = 16 * 1024;
/** So many readers are served before the loop gets its turn again. */
const AT_ONCE = 32;
/** Beyond so many readers they wait a little for what happens next: a deploy says a dozen things in a row. */
const FEW = 16;
const GATHER_MS = 100;

export class EventStreams {
  readonly #heartbeatMs: number;
  readonly #stallMs: number;
  readonly #open = new Set<Reader>();
  readonly #awake = new Set<Reader>();
  #isEveryoneAwake = false;
  #heartbeat: NodeJS.Timeout | null = null;
  #isFlushing = false;

  constructor({ heartbeatMs = 15_000, stallMs = 60_000 }: EventStreamsOptions = {}) {
    this.#heartbeatMs = heartbeatMs;
    this.#stallMs = stallMs;
  }

  /** How many readers there are now. */
  get readers(): number {
    return this.#open.size;
  }

  /** Whether the heart-beat's timer exists now. */
  get beating(): boolean {
    return this.#heartbeat !== null;
  }

  /** Answers with an event stream; `headers` are sent besides its own. */
  open(
    response: ServerResponse,
    headers: Readonly<Record<string, number | string | string[] | undefined>>,
    source: Source,
  ): EventStream {
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined) response.setHeader(name, value);
    }
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const reader = new Reader(response, source, () => this.#wake(reader));
    this.#open.add(reader);
    // The time limit of ordinary answers is not for a stream.
    response.socket?.setTimeout(0);
    this.#heartbeat ??= setInterval(() => {
      for (const each of this.#open) each.beat(this.#stallMs);
    }, this.#heartbeatMs).unref();
    response.once("close", () => {
      this.#open.delete(reader);
      this.#awake.delete(reader);
      if (this.#open.size === 0 && this.#heartbeat !== null) {
        clearInterval(this.#heartbeat);
        this.#heartbeat = null;
      }
      source.onClose();
    });
    // The reader comes back after a second when the daemon was restarted.
    response.write("retry: 1000\n\n");
    this.#wake(reader);
    return {
      wake: () => this.#wake(reader),
      end: () => void response.end(),
      get closed() {
        return reader.closed;
      },
    };
  }

  /** Says to every reader that its source may have something: once, however many there are and however often. */
  wakeAll(): void {
    if (this.#open.size === 0) return;
    this.#isEveryoneAwake = true;
    this.#flushSoon();
  }

  closeAll(): void {
    for (const reader of this.#open) reader.close();
  }

  /** What happens in one turn of the loop is written together, and not in that turn: it has something to do. */
  #wake(reader: Reader): void {
    this.#awake.add(reader);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    if (this.#open.size <= FEW) setImmediate(() => this.#serve());
    else setTimeout(() => this.#serve(), GATHER_MS);
  }

  #serve(): void {
    if (this.#isEveryoneAwake) for (const reader of this.#open) this.#awake.add(reader);
    this.#isEveryoneAwake = false;
    let served = 0;
    for (const reader of this.#awake) {
      this.#awake.delete(reader);
      reader.pump();
      served += 1;
      if (served === AT_ONCE) break;
    }
    this.#isFlushing = this.#awake.size > 0 || this.#isEveryoneAwake;
    if (this.#isFlushing) setImmediate(() => this.#serve());
  }
}

class Reader {
  readonly #response: ServerResponse;
  readonly #source: Source;
  /** When the connection had no room any more, by performance.now(); null: it has room. */
  #fullSince: number | null = null;

  constructor(response: ServerResponse, source: Source, wake: () => void) {
    this.#response = response;
    this.#source = source;
    response.on("drain", () => {
      this.#fullSince = null;
      wake();
    });
  }

  get closed(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  pump(): void {
    while (!this.closed && this.#fullSince === null) {
      let text = "";
      let next: string | typeof END | null = null;
      while (text.length < PIECE) {
        next = this.#source.next();
        if (next === null || next === END) break;
        text += next;
      }
      if (text !== "") this.#write(text);
      if (next === END) this.#response.end();
      if (next === null) return;
    }
  }

  beat(stallMs: number): void {
    if (this.#fullSince === null) this.#write(": still here\n\n");
    else if (performance.now() - this.#fullSince >= stallMs) this.#response.destroy();
  }

  close(): void {
    this.#response.end();
    // Its end would wait for a reader that does not read.
    if (this.#fullSince !== null) this.#response.destroy();
  }

  #write(text: string): void {
    if (this.closed) return;
    if (!this.#response.write(text)) this.#fullSince ??= performance.now();
  }
}

/** JSON has no line breaks outside its escapes, so one `data:` line always holds it. */
export function format({ event, id, data }: Message): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
