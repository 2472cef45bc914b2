/** The API and the sockets that it is served on. The sockets outlive the server, so that another one can go on with them. */
import type { Socket } from "node:net";
import type { Logger } from "pino";
import { Idempotency, type IdempotencyState } from "../admin-api/idempotency.ts";
import type { Caller, Operations } from "../admin-api/operations.ts";
import { type AdminServer, createServer } from "../admin-api/server.ts";
import type { Descriptor } from "../handoff/descriptor.ts";

/** For requests that are under way when the daemon is to be replaced. */
const PATIENCE_MS = 2_000;

export interface FrontOptions {
  readonly operations: Operations;
  readonly log: Logger;
  readonly peerOf: (socket: Socket) => Caller;
  /** Bound and listening. It becomes the front's. */
  readonly socket: Descriptor;
  /** Of the server of another image. */
  readonly after: IdempotencyState | undefined;
}

export class Front {
  readonly #options: FrontOptions;
  readonly #idempotency: Idempotency;
  #server: AdminServer | null = null;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#idempotency = new Idempotency({ after: options.after });
  }

  get idempotency(): IdempotencyState {
    return this.#idempotency.state;
  }

  get descriptors(): ReadonlyMap<string, number> {
    return new Map([["admin/socket", this.#options.socket.fd]]);
  }

  async open(): Promise<void> {
    if (this.#server !== null) return;
    const { operations, log, peerOf, socket } = this.#options;
    this.#server = createServer({ operations, log, peerOf, idempotency: this.#idempotency });
    await this.#server.listenOn(socket.duplicate().take());
  }

  /** Answers what was asked; whoever connects from now on waits in the socket's queue for `open`. */
  async pause(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    await server?.close(PATIENCE_MS);
  }

  async close(): Promise<void> {
    this.#options.socket.close();
    await this.#server?.close();
    this.#server = null;
  }
}
