/** A server on a real socket that answers a query as the test says, well or badly. */
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How it answers. One that does nothing lets the client wait. */
export type Behaviour = (response: ServerResponse) => void;

export class FakePrometheus implements AsyncDisposable {
  readonly url: string;
  /** What was asked, in order: the path, and the parameters of the query. */
  readonly asked: { readonly path: string; readonly parameters: URLSearchParams }[] = [];
  /** How many are being answered, and how many were at most. */
  open = 0;
  most = 0;
  behaviour: Behaviour = () => undefined;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (request, response: ServerResponse) => {
      const { pathname, searchParams } = new URL(request.url ?? "", this.url);
      this.asked.push({ path: pathname, parameters: searchParams });
      this.most = Math.max(this.most, ++this.open);
      response.once("close", () => this.open--);
      this.behaviour(response);
    });
  }

  static async start(behaviour: Behaviour): Promise<FakePrometheus> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const fake = new FakePrometheus(server);
    fake.behaviour = behaviour;
    return fake;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

export function says(body: unknown, status = 200): Behaviour {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  };
}

/** An instant vector with one series for each value. */
export function vector(...values: readonly string[]): Behaviour {
  const result = values.map((value, index) => ({ metric: { series: String(index) }, value: [1, value] }));
  return says({ status: "success", data: { resultType: "vector", result } });
}

export function result(resultType: string, found: unknown, more: object = {}): Behaviour {
  return says({ status: "success", data: { resultType, result: found }, ...more });
}
