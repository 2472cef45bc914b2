/** What does not move ends politely: no route, no daemon, no addon, another Node, TLS, HTTP/2, compressed web sockets. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { connect as connectHttp2, constants, type ClientHttp2Session } from "node:http2";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Generations } from "../../support/generations.ts";
import { askAll, Client, clients, close, tally } from "../../support/kept.ts";
import { fixture, root } from "../../support/paths.ts";
import { end, environment, eventually, start, type Process } from "../../support/processes.ts";
import { expectTableUnchanged } from "../native-support.ts";

expectTableUnchanged();
vi.setConfig({ testTimeout: 120_000 });

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/polite-`);
  const files = ["-keyout", "key.pem", "-out", "cert.pem"];
  const words = [
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    ...files,
    "-subj",
    "/CN=localhost",
    "-days",
    "2",
  ];
  execFileSync("openssl", words, { cwd: folder, stdio: "ignore" });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A program that nobody has given anything. */
class Alone implements AsyncDisposable {
  readonly process: Process;
  readonly lines: string[] = [];
  readonly errors: string[] = [];

  constructor(program: string, more: Readonly<Record<string, string>> = {}, args: readonly string[] = []) {
    this.process = start(process.execPath, [...args, program], {
      stdio: ["ignore", "pipe", "pipe"],
      env: environment({ PORT: "0", HANDOFF_VERSION: "alone", ...more }),
    });
    const { stdout, stderr } = this.process.child;
    stdout?.on("data", (data: Buffer) => this.lines.push(...data.toString().split("\n")));
    stderr?.on("data", (data: Buffer) => this.errors.push(data.toString()));
  }

  async port(): Promise<number> {
    const line = await eventually(
      `a port ${this.errors.join("")}`,
      () => this.lines.find((each) => /^port \d+$/.test(each)),
      60_000,
    );
    return Number(line.slice(5));
  }

  async counts(): Promise<unknown> {
    await this.process.exit;
    const line = await eventually("the counts", () => this.lines.find((each) => each.startsWith("moves ")));
    return JSON.parse(line.slice(6));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.process);
  }
}

describe("alone", () => {
  it("it listens where PORT says, and Ctrl-C lets kept connections have one more answer each", async () => {
    await using alone = new Alone(fixture("moves.mjs"));
    const all = await clients(5, await alone.port());
    expect(tally(await askAll(all))).toEqual({ alone: 5 });
    alone.process.kill("SIGINT");
    // It still waits, so there is nothing to see but by asking: one that is refused knows that it drains.
    await eventually("nobody listening", async () => {
      try {
        close([await Client.open(await alone.port())]);
        return false;
      } catch {
        return true;
      }
    });
    expect(tally(await askAll(all))).toEqual({ "alone close": 5 });
    expect(await alone.process.exit).toEqual({ code: 0, signal: null });
    expect(await alone.counts()).toMatchObject({
      off: "there is no handoffd that would make a way",
      given: 0,
    });
    expect(alone.errors).toEqual([]);
  });

  it("without the addon, too", async () => {
    const home = mkdtempSync(`${tmpdir()}/bare-`);
    try {
      const installed = `${home}/node_modules/handoffd`;
      mkdirSync(installed, { recursive: true });
      cpSync(`${root}/dist/handoff`, `${installed}/dist/handoff`, { recursive: true });
      copyFileSync(`${root}/package.json`, `${installed}/package.json`);
      for (const name of ["moves.mjs", "answers.mjs"]) copyFileSync(fixture(name), `${home}/${name}`);
      await using alone = new Alone(`${home}/moves.mjs`);
      const all = await clients(2, await alone.port());
      expect(tally(await askAll(all))).toEqual({ alone: 2 });
      close(all);
      alone.process.kill("SIGTERM");
      expect(await alone.process.exit).toEqual({ code: 0, signal: null });
      expect(alone.errors).toEqual([]);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });

  it("a callback of onDrain that fails is said, and ends nobody's connection", async () => {
    await using alone = new Alone(fixture("speaks.mjs"), { PROTOCOL: "http", FAILS: "1" });
    const [client] = (await clients(1, await alone.port())) as [Client];
    expect(await client.ask()).toBe("alone");
    alone.process.kill("SIGTERM");
    await eventually("the failure", () => alone.errors.join("").includes("the application's own"));
    expect(await client.ask()).toBe("alone close");
    expect(await alone.process.exit).toEqual({ code: 0, signal: null });
  });
});

describe("under systemd's socket activation", () => {
  it("it takes the socket, says READY=1 and STOPPING=1, and drains", async () => {
    await using generations = Generations.open();
    const one = await generations.start("moves.mjs", { environment: { HANDOFF_FD: "" } }).ready();
    const all = await clients(5, generations.port);
    expect(tally(await askAll(all))).toEqual({ v1: 5 });
    one.process.kill("SIGTERM");
    await one.stopping();
    expect(tally(await askAll(all))).toEqual({ "v1 close": 5 });
    expect(await one.exit()).toEqual({ code: 0, signal: null });
    expect([one.said, one.errors]).toEqual([[], []]);
    const states = one.notes.map((note) => [...note].map(([name, value]) => `${name}=${value}`).join());
    expect(states).toEqual(["READY=1", "STATUS=serving", "STOPPING=1"]);
  });

  it("words that count descriptors and were another process's are not believed", async () => {
    await using alone = new Alone(fixture("moves.mjs"), {
      LISTEN_FDS: "1",
      LISTEN_PID: "1",
      HANDOFF_FD: "3",
    });
    expect(await alone.port()).toBeGreaterThan(0);
    alone.process.kill("SIGTERM");
    expect(await alone.counts()).toMatchObject({ off: "there is no handoffd that would make a way" });
  });
});

it("who only asks what it was given ends as it likes", async () => {
  await using generations = Generations.open();
  const one = await generations.start("asks-only.mjs").ready();
  const [client] = (await clients(1, generations.port)) as [Client];
  client.socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  await eventually("the request", () => one.lines.includes("asked"));
  one.process.kill("SIGTERM");
  await eventually("its own end", () => one.notes.some((note) => note.get("STATUS") === "ending"));
  await eventually("the answer", () => client.text.includes("late\n"));
  expect(await one.exit()).toEqual({ code: 0, signal: null });
});

it("whose time is over under a supervisor is ended by that, which counts what it cuts, and not by itself", async () => {
  await using generations = Generations.open();
  const options = { environment: { HANDOFF_DRAIN_TIMEOUT_MS: "100" } };
  const one = await generations.start("moves.mjs", options).ready();
  const [client] = (await clients(1, generations.port)) as [Client];
  client.socket.write("GET /stream?ms=1000 HTTP/1.1\r\nHost: x\r\n\r\n");
  await once(client.socket, "data");
  one.process.kill("SIGTERM");
  await eventually("the whole answer", () => client.text.includes("end\n"));
  close([client]);
  expect(await one.exit()).toEqual({ code: 0, signal: null });
});

it("a Node whose private parts are other ones is found out at the start, and said three times", async () => {
  await using generations = Generations.open();
  const preload = `${folder}/another-node.cjs`;
  writeFileSync(preload, 'delete require("node:_http_common").HTTPParser.prototype.execute;\n');
  const one = await generations
    .start("moves.mjs", { environment: { NODE_OPTIONS: `--require=${preload}` } })
    .ready();
  const all = await clients(5, generations.port);
  await askAll(all);
  one.process.kill("SIGTERM");
  await one.stopping();
  expect(tally(await askAll(all))).toEqual({ "v1 close": 5 });
  await one.exit();
  const off = expect.stringContaining("execute is not a function") as string;
  expect(await one.counts()).toMatchObject({ off, given: 0 });
  expect(one.errors).toContainEqual(off);
  expect(one.notes.map((note) => note.get("STATUS"))).toContainEqual(off);
  expect(one.said).toEqual([]);
});

describe("of what people run", () => {
  it.each(["listener", "express", "koa", "hono", "fastify"])("%s: it moves", async (protocol) => {
    await using generations = Generations.open();
    const options = { environment: { PROTOCOL: protocol } };
    const one = await generations.start("speaks.mjs", options).ready();
    const all = await clients(5, generations.port);
    await askAll(all);
    await generations.replace(one, "speaks.mjs", options);
    expect(await one.exit()).toEqual({ code: 0, signal: null });
    expect(tally(await askAll(all))).toEqual({ v2: 5 });
    expect(one.lines.includes("closed by fastify")).toBe(protocol === "fastify");
    expect(one.errors).toEqual([]);
    close(all);
  });

  it("https: its connections do not move, and learn with their next answer", async () => {
    await using generations = Generations.open();
    const options = {
      environment: { PROTOCOL: "https", KEY: `${folder}/key.pem`, CERTIFICATE: `${folder}/cert.pem` },
    };
    const one = await generations.start("speaks.mjs", options).ready();
    expect(one.kinds).toEqual([]);
    const all = await Promise.all([1, 2, 3].map(() => Client.open(generations.port, { tls: true })));
    expect(tally(await askAll(all))).toEqual({ v1: 3 });
    await generations.replace(one, "speaks.mjs", options);
    await one.stopping();
    expect(tally(await askAll(all))).toEqual({ "v1 close": 3 });
    expect(await one.exit()).toEqual({ code: 0, signal: null });
  });
});

describe("http2", () => {
  function get(session: ClientHttp2Session, path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const stream = session.request({ [constants.HTTP2_HEADER_PATH]: path });
      let text = "";
      stream.setEncoding("utf8");
      stream.on("data", (data: string) => (text += data));
      stream.on("end", () => resolve(text.split(" ")[0] ?? ""));
      stream.on("error", reject);
    });
  }

  it("is warned by a first GOAWAY, and may finish what it has begun before the second ends it", async () => {
    await using generations = Generations.open();
    const one = await generations.start("speaks.mjs", { environment: { PROTOCOL: "http2" } }).ready();
    const session = connectHttp2(`http://127.0.0.1:${generations.port}`);
    const farewells: [number, number][] = [];
    session.on("goaway", (code: number, last: number) => farewells.push([code, last]));
    const closed = once(session, "close");
    expect(await get(session, "/")).toBe("v1");
    // Whose answer has begun, so that the server has it: a client cancels what it has not sent when it is warned.
    const slow = session.request({ [constants.HTTP2_HEADER_PATH]: "/stream?ms=600" });
    const ended = text(slow);
    await once(slow, "response");
    one.process.kill("SIGTERM");
    expect(await ended).toContain("end\n");
    await closed;
    expect(await one.exit()).toEqual({ code: 0, signal: null });
    // Streams 1 and 3 were served; the first farewell excludes none.
    expect([farewells[0], farewells.at(-1)]).toEqual([
      [constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1],
      [constants.NGHTTP2_NO_ERROR, 3],
    ]);
  });
});
