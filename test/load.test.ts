/** The load generator against servers that are broken on purpose: it counts each loss, exactly, and as what it is. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { buildLoad, lost, startLoad, type LoadOptions, type Report } from "./support/load.ts";

const ANSWER =
  "HTTP/1.1 200 OK\r\nx-version: 1\r\nx-generation: 4\r\nx-instance: 7\r\nContent-Length: 2\r\n\r\nok";

/** A server that hands each whole request to `onRequest`, with its number on its connection, from 0. */
class Broken implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly requests: string[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(
    onRequest: (socket: Socket, turn: number, total: number) => void,
    onConnection?: (socket: Socket) => void,
    listen: { host: string; port: number } | { path: string } = { host: "127.0.0.1", port: 0 },
  ): Promise<Broken> {
    const server = createServer();
    const broken = new Broken(server);
    server.on("connection", (socket) => {
      broken.#sockets.add(socket);
      socket.on("error", () => undefined); // That clients are treated badly is the point.
      onConnection?.(socket);
      let turn = 0;
      let pending = "";
      socket.on("data", (data) => {
        pending += data.toString("latin1");
        if (!pending.includes("\r\n\r\n")) return;
        broken.requests.push(pending);
        pending = "";
        onRequest(socket, turn++, broken.requests.length);
      });
    });
    server.listen(listen);
    await once(server, "listening");
    return broken;
  }

  get target(): string {
    const address = this.#server.address() as AddressInfo | string;
    if (typeof address === "string") return `unix:${address}`;
    return address.family === "IPv6"
      ? `[${address.address}]:${address.port}`
      : `${address.address}:${address.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

async function measure(options: LoadOptions): Promise<Report> {
  await using load = startLoad({ seconds: 10, connections: 4, ...options });
  return await load.done;
}

/** Every ending a request can have; a test names those it expects, the rest must be 0. */
function endings(report: Report): Partial<Record<keyof Report, number>> {
  const { ok, badStatus, refused, reset, resetOnReuse, eof, eofOnReuse, cut, timeout, malformed, client } =
    report;
  const all = {
    ok,
    badStatus,
    refused,
    reset,
    resetOnReuse,
    eof,
    eofOnReuse,
    cut,
    timeout,
    malformed,
    client,
  };
  expect(Object.values(all).reduce((sum, count) => sum + count)).toBe(report.requests);
  return Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0));
}

describe("a good server", () => {
  it("loses nothing in any mode", async () => {
    await using server = await Broken.open((socket) => void socket.write(ANSWER));
    for (const mode of ["new", "keepalive", "stream"] as const) {
      const report = await measure({ target: server.target, mode, requests: 40 });
      expect(endings(report)).toEqual({ ok: 40 });
      expect(lost(report)).toEqual({ refused: 0, reset: 0, cut: 0, late: 0 });
      expect(report.connections).toBe(mode === "keepalive" ? 4 : 40);
    }
  });

  it("is reported with its versions, generations, instances and latencies", async () => {
    await using server = await Broken.open((socket, _turn, total) => {
      const said = total <= 6 ? ["1", "4", "7"] : ["2", "5", "8"];
      socket.write(
        `HTTP/1.1 200 OK\r\nX-Version: ${said[0]}\r\nX-Generation: ${said[1]}\r\nX-Instance: ${said[2]}\r\nContent-Length: 0\r\n\r\n`,
      );
    });
    const report = await measure({ target: server.target, mode: "keepalive", requests: 20 });
    expect(report.versions).toEqual({ 1: 6, 2: 14 });
    expect(report.generations).toEqual({ 4: 6, 5: 14 });
    expect(report.instances).toBe(2);
    expect(report.status).toEqual({ 200: 20 });
    expect(report.firstSeen["5"]).toBeGreaterThanOrEqual(report.lastSeen["4"] ?? Infinity);
    expect(report.latencyMs.p50).toBeGreaterThan(0);
    expect(report.latencyMs.max).toBeGreaterThanOrEqual(report.latencyMs.p99);
  });

  it("is reported with all its latencies where that is asked for, and the percentiles are theirs", async () => {
    await using server = await Broken.open((socket, _turn, total) => {
      setTimeout(() => socket.write(ANSWER), total % 10 === 0 ? 60 : 0);
    });
    const report = await measure({ target: server.target, mode: "new", requests: 40, histogram: true });
    const { histogram = [], latencyMs } = report;
    expect(histogram.reduce((sum, [, count]) => sum + count, 0)).toBe(40);
    expect(histogram.map(([ms]) => ms)).toEqual(histogram.map(([ms]) => ms).toSorted((a, b) => a - b));
    expect(
      histogram.filter(([ms]) => ms >= 59).reduce((sum, [, count]) => sum + count, 0),
    ).toBeGreaterThanOrEqual(4);
    expect(histogram.map(([ms]) => ms)).toContain(latencyMs.p50);
    expect(await measure({ target: server.target, mode: "new", requests: 4 })).not.toHaveProperty(
      "histogram",
    );
  });

  it("without our headers is known by its body's first word", async () => {
    await using server = await Broken.open(
      (socket) => void socket.end("HTTP/1.0 200 OK\r\n\r\n41 3 99\n"), // The connection's end is the body's.
    );
    const report = await measure({ target: server.target, mode: "new", requests: 5 });
    expect(endings(report)).toEqual({ ok: 5 });
    expect(report.versions).toEqual({ 41: 5 });
  });

  it("may send chunks, trailers and interim answers in any portions", async () => {
    const text =
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
      "4;a=b\r\n12 3\r\n1\r\n4\r\n0\r\nx-trailer: 1\r\n\r\n";
    await using server = await Broken.open((socket, turn) => {
      socket.setNoDelay(true);
      const at = (turn * 7) % text.length;
      socket.write(text.slice(0, at), () => void setImmediate(() => socket.write(text.slice(at))));
    });
    const report = await measure({ target: server.target, mode: "keepalive", requests: 100, connections: 1 });
    expect(endings(report)).toEqual({ ok: 100 });
    expect(report.versions).toEqual({ 12: 100 });
    expect(report.connections).toBe(1);
  });

  it("that announces the end of a kept connection loses nothing", async () => {
    await using server = await Broken.open((socket, turn) => {
      if (turn < 2) socket.write(ANSWER);
      else socket.end(ANSWER.replace("x-version", "Connection: close\r\nx-version"));
    });
    const report = await measure({ target: server.target, mode: "keepalive", requests: 12, connections: 1 });
    expect(endings(report)).toEqual({ ok: 12 });
    expect(report).toMatchObject({ connections: 4, closedIdle: 0 });
  });

  it("gets whole request bodies", async () => {
    let bytes = 0;
    const server = createServer((socket) => {
      let head = "";
      let got = 0;
      socket.on("data", (data) => {
        bytes += data.length;
        if (!head.includes("\r\n\r\n")) head += data.toString("latin1");
        got += data.length;
        if (got === head.indexOf("\r\n\r\n") + 4 + 300_000) socket.write(ANSWER);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const report = await measure({ target, mode: "new", requests: 8, method: "POST", bodyBytes: 300_000 });
    server.close();
    expect(endings(report)).toEqual({ ok: 8 });
    expect(bytes).toBeGreaterThan(8 * 300_000);
  });

  it("is reached over IPv6 and over unix sockets", async () => {
    const path = `/tmp/handoffd-load-${process.pid}.sock`;
    rmSync(path, { force: true });
    for (const listen of [{ host: "::1", port: 0 }, { path }]) {
      await using server = await Broken.open((socket) => void socket.write(ANSWER), undefined, listen);
      expect(endings(await measure({ target: server.target, mode: "new", requests: 10 }))).toEqual({
        ok: 10,
      });
    }
  });

  it("sees clients of many addresses, never of the reserved ones, or of the one that was asked for", async () => {
    const seen = new Set<string>();
    await using server = await Broken.open(
      (socket) => void socket.write(ANSWER),
      (socket) => void seen.add(socket.remoteAddress ?? ""),
    );
    await measure({ target: server.target, mode: "new", requests: 300 });
    expect(seen.size).toBe(254);
    expect([...seen].filter((address) => !address.startsWith("127.0.1."))).toEqual([]);
    seen.clear();
    await measure({ target: server.target, mode: "new", requests: 5, source: "127.0.0.9" });
    expect([...seen]).toEqual(["127.0.0.9"]);
  });

  it("is asked at the rate that was wanted", async () => {
    await using server = await Broken.open((socket) => void socket.write(ANSWER));
    const report = await measure({ target: server.target, mode: "keepalive", rate: 200, requests: 100 });
    expect(report.durationMs).toBeGreaterThan(490);
  });
});

describe("a broken server", () => {
  it("that resets after accept is counted as reset", async () => {
    await using server = await Broken.open(
      () => undefined,
      (socket) => void socket.resetAndDestroy(),
    );
    const report = await measure({ target: server.target, mode: "new", requests: 9 });
    expect(endings(report)).toEqual({ reset: 9 });
    expect(lost(report)).toEqual({ refused: 0, reset: 9, cut: 0, late: 0 });
    expect(report.connections).toBe(9);
    expect(report.errors).toHaveLength(9);
    expect(report.errors[0]?.what).toMatch(/^reset: .+ \(client 127\.0\.1\.\d+:\d+/);
  });

  it("that closes without an answer is counted as eof", async () => {
    await using server = await Broken.open((socket) => void socket.destroy());
    const report = await measure({ target: server.target, mode: "keepalive", requests: 9 });
    expect(endings(report)).toEqual({ eof: 9 });
    expect(lost(report)).toEqual({ refused: 0, reset: 9, cut: 0, late: 0 });
  });

  it("that closes in the middle of a head is counted as eof, that resets there as cut", async () => {
    await using server = await Broken.open((socket, _turn, total) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-", () => {
        if (total % 2 === 0) socket.destroy();
        else setTimeout(() => socket.resetAndDestroy(), 20); // A reset overtakes bytes that are not yet read.
      });
    });
    const report = await measure({ target: server.target, mode: "new", requests: 8, connections: 1 });
    expect(endings(report)).toEqual({ eof: 4, cut: 4 });
  });

  it("that closes a kept connection under a request is counted as eofOnReuse, that resets as resetOnReuse", async () => {
    for (const [how, kind] of [
      ["destroy", "eofOnReuse"],
      ["resetAndDestroy", "resetOnReuse"],
    ] as const) {
      await using server = await Broken.open((socket, turn) => {
        if (turn < 2) socket.write(ANSWER);
        else socket[how]();
      });
      const report = await measure({
        target: server.target,
        mode: "keepalive",
        requests: 30,
        connections: 2,
      });
      expect(endings(report)).toEqual({ ok: 20, [kind]: 10 });
      expect(lost(report)).toEqual({ refused: 0, reset: 10, cut: 0, late: 0 });
    }
  });

  it("that closes a kept connection between requests has lost nothing, and it is said", async () => {
    await using server = await Broken.open((socket) => {
      socket.write(ANSWER, () => void socket.end());
    });
    const report = await measure({
      target: server.target,
      mode: "keepalive",
      requests: 8,
      thinkMs: [30, 40],
    });
    expect(endings(report)).toEqual({ ok: 8 });
    // The last answer of each connection may be the end of the load too.
    expect(report.closedIdle).toBeGreaterThanOrEqual(4);
    expect(report.connections).toBe(8);
  });

  it("that truncates a body is counted as cut, by length and by chunks", async () => {
    for (const head of [
      "Content-Length: 10\r\n\r\nhalf",
      "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ]) {
      await using server = await Broken.open((socket) => void socket.end(`HTTP/1.1 200 OK\r\n${head}`));
      for (const mode of ["new", "keepalive", "stream"] as const) {
        const report = await measure({ target: server.target, mode, requests: 6 });
        expect(endings(report)).toEqual({ cut: 6 });
        expect(lost(report)).toEqual({ refused: 0, reset: 0, cut: 6, late: 0 });
      }
    }
  });

  it("that speaks something else, or more than was asked for, is counted as malformed", async () => {
    for (const text of ["SSH-2.0-OpenSSH_9.2\r\n", ANSWER + ANSWER, ANSWER.replace(": 2", ": 2x")]) {
      await using server = await Broken.open((socket) => void socket.write(text));
      const report = await measure({ target: server.target, mode: "keepalive", requests: 5 });
      expect(endings(report)).toEqual({ malformed: 5 });
    }
  });

  it("that speaks between two requests is noticed", async () => {
    await using server = await Broken.open((socket) => {
      socket.write(ANSWER, () => void setTimeout(() => socket.write(ANSWER), 10));
    });
    const report = await measure({
      target: server.target,
      mode: "keepalive",
      requests: 8,
      thinkMs: [60, 60],
    });
    expect(endings(report)).toEqual({ ok: 8 });
    expect(report).toMatchObject({ unasked: 4, closedIdle: 0, connections: 8 });
  });

  it("that never answers is counted as timeout", async () => {
    await using server = await Broken.open(() => undefined);
    const report = await measure({ target: server.target, mode: "new", requests: 5, timeoutMs: 150 });
    expect(endings(report)).toEqual({ timeout: 5 });
    expect(lost(report)).toEqual({ refused: 0, reset: 0, cut: 0, late: 5 });
  });

  it("whose stream falls silent is counted as timeout, one that goes on is not", async () => {
    await using server = await Broken.open((socket, _turn, total) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
      if (total === 1) return;
      let left = 8;
      const timer = setInterval(() => {
        socket.write(left-- > 0 ? "1\r\na\r\n" : "0\r\n\r\n");
        if (left < 0) clearInterval(timer);
      }, 100);
    });
    const report = await measure({ target: server.target, mode: "stream", requests: 4, timeoutMs: 600 });
    expect(endings(report)).toEqual({ ok: 3, timeout: 1 });
  });

  it("that answers late is counted as late, and as ok", async () => {
    await using server = await Broken.open((socket, _turn, total) => {
      setTimeout(() => socket.write(ANSWER), total <= 3 ? 400 : 0);
    });
    const report = await measure({ target: server.target, mode: "keepalive", requests: 10, lateMs: 300 });
    expect(endings(report)).toEqual({ ok: 10 });
    expect(report.late).toBe(3);
    expect(lost(report)).toEqual({ refused: 0, reset: 0, cut: 0, late: 3 });
  });

  it("that answers 500 is counted as badStatus and is no loss", async () => {
    await using server = await Broken.open((socket, _turn, total) => {
      socket.write(total % 2 === 0 ? ANSWER : ANSWER.replace("200 OK", "503 Busy"));
    });
    const report = await measure({ target: server.target, mode: "keepalive", requests: 10 });
    expect(endings(report)).toEqual({ ok: 5, badStatus: 5 });
    expect(report.status).toEqual({ 200: 5, 503: 5 });
    expect(lost(report)).toEqual({ refused: 0, reset: 0, cut: 0, late: 0 });
  });

  it("that is not there is counted as refused", async () => {
    const server = await Broken.open(() => undefined);
    const { target } = server;
    await server[Symbol.asyncDispose]();
    for (const gone of [target, "unix:/nonexistent/socket"]) {
      const report = await measure({ target: gone, mode: "new", requests: 12 });
      expect(endings(report)).toEqual({ refused: 12 });
      expect(lost(report)).toEqual({ refused: 12, reset: 0, cut: 0, late: 0 });
      expect(report.connections).toBe(0);
    }
  });
});

describe("mode idle", () => {
  it("asks once at the start and once at the end on the same connections", async () => {
    await using server = await Broken.open((socket) => void socket.write(ANSWER));
    await using load = startLoad({ target: server.target, mode: "idle", connections: 20 });
    await load.settled;
    expect(server.requests).toHaveLength(20);
    const report = await load.stop();
    expect(endings(report)).toEqual({ ok: 40 });
    expect(report.connections).toBe(20);
  });

  it("counts connections that were closed meanwhile", async () => {
    const sockets: Socket[] = [];
    await using server = await Broken.open(
      (socket) => void socket.write(ANSWER),
      (socket) => void sockets.push(socket),
    );
    await using load = startLoad({ target: server.target, mode: "idle", connections: 20 });
    await load.settled;
    const ends = sockets.slice(0, 5).map((socket) => once(socket, "close"));
    for (const socket of sockets.slice(0, 5)) socket.end();
    await Promise.all(ends);
    const report = await load.stop();
    expect(endings(report)).toEqual({ ok: 35 });
    expect(report.closedIdle).toBe(5);
  });
});

describe("a load", () => {
  it("tells when it has started and when it sees a generation for the first time", async () => {
    let generation = 4;
    await using server = await Broken.open((socket) => {
      socket.write(ANSWER.replace("x-generation: 4", `x-generation: ${generation}`));
    });
    await using load = startLoad({ target: server.target, mode: "keepalive", rate: 200 });
    await load.started;
    const first = await load.sawGeneration(4);
    generation = 5;
    expect(await load.sawGeneration(5)).toBeGreaterThan(first);
    const report = await load.stop();
    expect(endings(report)).toEqual({ ok: report.requests });
    expect(report.firstSeen).toEqual({ 4: first, 5: expect.any(Number) as number });
  });

  it("that ends without what was waited for says so", async () => {
    await using server = await Broken.open((socket) => void socket.write(ANSWER));
    await using load = startLoad({ target: server.target, mode: "new", requests: 3 });
    await expect(load.sawGeneration(99)).rejects.toThrow(/ended without "generation 99"/);
  });

  it("that is stopped finishes what is in flight", async () => {
    let asked = (): void => undefined;
    const four = new Promise<void>((resolve) => (asked = resolve));
    await using server = await Broken.open((socket, _turn, total) => {
      if (total === 4) asked();
      setTimeout(() => socket.write(ANSWER), 300);
    });
    await using load = startLoad({ target: server.target, mode: "new", connections: 4 });
    await four;
    const report = await load.stop();
    expect(endings(report)).toEqual({ ok: report.requests });
    expect(report.requests).toBeGreaterThanOrEqual(4);
  });

  it("ends by itself after its seconds, and gives up on what is still in flight after its time-out", async () => {
    await using server = await Broken.open((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      const timer = setInterval(() => socket.write("a"), 50);
      socket.once("close", () => clearInterval(timer));
    });
    const report = await measure({ target: server.target, mode: "stream", seconds: 0.3, timeoutMs: 300 });
    expect(endings(report)).toEqual({ timeout: 4 });
    expect(report.durationMs).toBeGreaterThan(590);
  });

  it("that proves nothing is not taken for a good one", async () => {
    await using server = await Broken.open((socket) => void socket.write(ANSWER.replace("200", "404")));
    const report = await measure({ target: server.target, mode: "new", requests: 3 });
    expect(() => lost(report)).toThrow(/proves nothing/);
  });

  it.each([
    [["--mode", "new", "--seconds", "1"], "--target is required"],
    [["--target", "127.0.0.1:80", "--mode", "new"], "--seconds is required"],
    [["--target", "127.0.0.1:80", "--mode", "new", "--seconds", "901"], "--seconds must be"],
    [["--target", "10.0.0.1:80", "--mode", "new", "--seconds", "1"], "is not a loopback address"],
    [["--target", "example.org:80", "--mode", "new", "--seconds", "1"], "is not a loopback address"],
    [["--target", "[::2]:80", "--mode", "new", "--seconds", "1"], "is not a loopback address"],
    [["--target", "127.0.0.1:80", "--mode", "new", "--seconds", "1", "--source", "127.77.0.2"], "reserved"],
    [["--target", "127.0.0.1:80", "--mode", "new", "--seconds", "1", "--source", "10.0.0.1"], "127.0.0.0/8"],
    [["--target", "127.0.0.1:80", "--mode", "some", "--seconds", "1"], "none of new"],
    [["--colour", "1"], "unknown option"],
  ])("refuses %j", async (args, words) => {
    const program = await buildLoad();
    const result = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      execFile(program, args, (error, _stdout, stderr) => resolve({ code: error?.code, stderr }));
    });
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(words);
  });
});
