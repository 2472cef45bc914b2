import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { createServer, type AddressInfo, type Server } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";

const SERVER = fileURLToPath(new URL("../../examples/quickstart/server.js", import.meta.url));

interface Answer {
  readonly body: string;
  readonly connection: string | undefined;
}

function get(port: number, agent: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, agent }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => (body += text));
      response.on("end", () => {
        resolve({ body, connection: response.headers.connection });
      });
    });
    asked.on("error", reject);
    asked.end();
  });
}

/** The descriptor of a listening socket of ours: what a supervisor would pass on. */
function descriptorOf(server: Server): number {
  const handle = (server as unknown as { _handle: { fd: number } })._handle;
  return handle.fd;
}

describe("the quickstart's application", () => {
  let child: ChildProcess | null = null;
  let listener: Server | null = null;
  const agents: Agent[] = [];

  afterEach(async () => {
    for (const agent of agents.splice(0)) agent.destroy();
    listener?.close();
    listener = null;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    child = null;
  });

  function agent(): Agent {
    const made = new Agent({ keepAlive: true, maxSockets: 1 });
    agents.push(made);
    return made;
  }

  /** Starts it on an inherited socket, as handoffd does: LISTEN_PID is its own pid, which exec keeps. */
  async function started(): Promise<{ app: ChildProcess; port: number }> {
    listener = createServer();
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const { port } = listener.address() as AddressInfo;
    child = spawn("/bin/sh", ["-c", `LISTEN_PID=$$ exec "${process.execPath}" "${SERVER}"`], {
      stdio: ["ignore", "inherit", "inherit", descriptorOf(listener)],
      env: { LISTEN_FDS: "1", HANDOFF_VERSION: "7", HANDOFF_GENERATION: "3", PORT: "1" },
    });
    // Ours must not accept what is meant for the application.
    listener.close();
    return { app: child, port };
  }

  it("answers on the socket that it inherits, with its version", async () => {
    const { port } = await started();
    const answer = await get(port, agent());
    expect(answer.body).toMatch(/^version 7 \(generation 3, pid \d+\)$/m);
    expect(answer.connection).toBe("keep-alive");
  });

  it("closes no idle connection under its client on SIGTERM, but says with the next answer that it is the last", async () => {
    const { app, port } = await started();
    const one = agent();
    await get(port, one);
    const exited = once(app, "exit");
    app.kill("SIGTERM");
    // That it has stopped accepting is what can be seen from here; until then an answer keeps the connection.
    let answer = await get(port, one);
    while (answer.connection === "keep-alive") answer = await get(port, one);
    expect(answer.connection).toBe("close");
    expect(answer.body).toContain("version 7");
    expect(await exited).toEqual([0, null]);
  });
});
