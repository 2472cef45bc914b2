/** The API and the sockets that it is served on. The sockets outlive the server, so that another one can go on with them. */
import type { Socket } from "node:net";
import type { Logger } from "pino";
import type { Peer } from "../../admin-api/access.ts";
import { Idempotency, type IdempotencyState } from "../../admin-api/idempotency.ts";
import type { Operations } from "../../admin-api/operations.ts";
import type { AdminServer } from "../../admin-api/server.ts";
import type { AdminAccess } from "./admin-access.ts";
import { type AdminSockets, boundTo, isLoopback, namesOf } from "./admin-sockets.ts";
import type { Config } from "../config/config.ts";

/** For requests that are under way when the daemon is to be replaced. */
const PATIENCE_MS = 2_000;

export interface FrontOptions {
  readonly operations: Operations;
  readonly log: Logger;
  readonly peerOf: (socket: Socket) => Peer;
  /** That the daemon was started with. */
  readonly config: Pick<Config, "admin" | "metrics">;
  /** They stay the caller's until `close`. */
  readonly sockets: AdminSockets;
  readonly access: AdminAccess;
  /** Of the server of another image. */
  readonly after: IdempotencyState | undefined;
}

/** With its libraries it is half of the daemon's program: read when the listeners listen and the services are under way. */
export const loadServer = () => import("../../admin-api/server.ts");

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
    return namesOf(this.#options.sockets);
  }

  /** Serves the API on all its sockets. Returns where, as the log shows it. */
  async open(): Promise<Readonly<Record<string, string>>> {
    const { operations, log, peerOf, config, sockets, access } = this.#options;
    const where: Record<string, string> = { socket: config.admin.socket.path };
    if (this.#server !== null) return where;
    const { createServer } = await loadServer();
    const idempotency = this.#idempotency;
    const server = createServer({ operations, log, peerOf, access: access.access, idempotency });
    this.#server = server;
    const { http } = config.admin;
    if (sockets.http !== null && http !== null) {
      where["http"] = boundTo(sockets.http);
      const kind = { kind: "tcp", isLoopback: isLoopback(http.address), tls: access.tls } as const;
      access.attach(await server.listenOn(sockets.http.duplicate().take(), kind));
    }
    if (sockets.metrics !== null && config.metrics !== null) {
      where["metrics"] = boundTo(sockets.metrics);
      const kind = { kind: "metrics", isLoopback: isLoopback(config.metrics.address) } as const;
      await server.listenOn(sockets.metrics.duplicate().take(), kind);
    }
    // The last one: whoever finds the unix socket finds the others too.
    await server.listenOn(sockets.unix.duplicate().take());
    return where;
  }

  /** Answers what was asked; whoever connects from now on waits in the sockets' queues for `open`. */
  async pause(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    await server?.close(PATIENCE_MS);
  }

  async close(): Promise<void> {
    this.#options.sockets[Symbol.dispose]();
    await this.#server?.close();
    this.#server = null;
  }
}
