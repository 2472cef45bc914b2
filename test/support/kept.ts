/** Clients that keep their connection, one request at a time: who answers it, and whether that was the last time. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** A client that keeps its connection and asks when it is told to. */
export class Client {
  readonly socket: Socket;
  #text = "";
  closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (data: Buffer) => (this.#text += data.toString("latin1")));
    socket.on("error", () => undefined);
    socket.once("close", () => (this.closed = true));
  }

  static async open(port: number, options: { readonly tls?: boolean } = {}): Promise<Client> {
    const socket =
      options.tls === true
        ? connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false })
        : connect(port, "127.0.0.1");
    await once(socket, options.tls === true ? "secureConnect" : "connect");
    return new Client(socket);
  }

  /** What has come since it asked. */
  get text(): string {
    return this.#text;
  }

  /** Who answered, "v2" for example, and with "close" behind it where it was the last answer; "" when the connection ended. */
  async ask(
    path = "/",
    parts: readonly string[] = [`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`],
  ): Promise<string> {
    this.#text = "";
    for (const part of parts) this.socket.write(part);
    return this.answer();
  }

  async answer(): Promise<string> {
    for (;;) {
      const [head = "", body] = this.#text.split("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? NaN);
      if (body !== undefined && body.length >= length) {
        const version = /x-version: (\S+)/i.exec(head)?.[1] ?? "";
        return /connection: close/i.test(head) ? `${version} close` : version;
      }
      if (this.closed) return "";
      await Promise.race([once(this.socket, "data"), once(this.socket, "close")]).catch(() => undefined);
    }
  }
}

export function clients(count: number, port: number): Promise<Client[]> {
  return Promise.all(Array.from({ length: count }, () => Client.open(port)));
}

export const askAll = (all: readonly Client[]): Promise<string[]> =>
  Promise.all(all.map((client) => client.ask()));

export function tally(answers: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1;
  return counts;
}

export function close(all: readonly Client[]): void {
  for (const { socket } of all) socket.destroy();
}
