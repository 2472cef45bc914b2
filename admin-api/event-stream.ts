/**
 * Server-sent events to readers that nobody waits for. A reader that does not read is dropped once `limit` bytes
 * wait for it: it comes back with Last-Event-ID, while its buffer would be the daemon's memory.
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
  /** The most bytes that may wait for one reader. */
  readonly limit?: number;
}

export interface EventStream {
  send(message: Message): void;
  /** Ends the stream in order. The reader takes it for an interruption unless `end` was sent before. */
  end(): void;
  readonly closed: boolean;
}

export class EventStreams {
  readonly #heartbeatMs: number;
  readonly #limit: number;
  readonly #open = new Set<ServerResponse>();
  #heartbeat: NodeJS.Timeout | null = null;

  constructor({ heartbeatMs = 15_000, limit = 1024 * 1024 }: EventStreamsOptions = {}) {
    this.#heartbeatMs = heartbeatMs;
    this.#limit = limit;
  }

  /** How many readers there are now. */
  get readers(): number {
    return this.#open.size;
  }

  /** Whether the heart-beat's timer exists now. */
  get beating(): boolean {
    return this.#heartbeat !== null;
  }

  /** Answers with an event stream. `onClose` is called once, whichever side ended it. */
  open(response: ServerResponse, onClose: () => void): EventStream {
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
    });
    this.#open.add(response);
    this.#heartbeat ??= setInterval(() => {
      for (const reader of this.#open) this.#write(reader, ": still here\n\n");
    }, this.#heartbeatMs).unref();
    response.once("close", () => {
      this.#open.delete(response);
      if (this.#open.size === 0 && this.#heartbeat !== null) {
        clearInterval(this.#heartbeat);
        this.#heartbeat = null;
      }
      onClose();
    });
    // The reader comes back after a second when the daemon was restarted.
    this.#write(response, "retry: 1000\n\n");
    return {
      send: (message) => this.#write(response, format(message)),
      end: () => void response.end(),
      get closed() {
        return response.destroyed || response.writableEnded;
      },
    };
  }

  closeAll(): void {
    for (const response of this.#open) response.end();
  }

  #write(response: ServerResponse, text: string): void {
    if (response.destroyed || response.writableEnded) return;
    response.write(text);
    if (response.writableLength > this.#limit) response.destroy();
  }
}

/** JSON has no line breaks outside its escapes, so one `data:` line always holds it. */
function format({ event, id, data }: Message): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
