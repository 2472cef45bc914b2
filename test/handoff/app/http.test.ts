/** Keep-alive connections go from one generation to the next, between real processes, while clients use them and processes die. */
import { once } from "node:events";
import { describe, expect, it, vi } from "vitest";
import { ask } from "../../support/net.ts";
import { descriptorCount, eventually } from "../../support/processes.ts";
import { Generations, type Generation } from "../../support/generations.ts";
import { askAll, Client, clients, close, tally } from "../../support/kept.ts";
import { lost, startLoad } from "../../support/load.ts";
import { expectTableUnchanged } from "../native-support.ts";

expectTableUnchanged();
// Each starts two or three programs, one after the other.
vi.setConfig({ testTimeout: 120_000 });

const NOTHING = { refused: 0, reset: 0, cut: 0, late: 0 };
/** On a busy machine a thousand first answers take their time; an answer that never comes is late as well. */
const lateMs = 9000;
const APP = "moves.mjs";

it("the same connections are served throughout, and no request is lost", async () => {
  await using generations = Generations.open();
  const { target } = generations;
  let now = await generations.start(APP).ready();
  expect(now.kinds).toEqual(["http/web"]);
  const busy = startLoad({ target, mode: "keepalive", connections: 64, thinkMs: [0, 20], lateMs });
  const idle = startLoad({ target, mode: "idle", connections: 150, lateMs });
  await Promise.all([busy.settled, idle.settled]);
  for (let deploys = 0; deploys < 3; deploys += 1) {
    const old = now;
    now = await generations.replace(old, APP);
    expect(await old.exit()).toEqual({ code: 0, signal: null });
    expect(await old.counts()).toMatchObject({ off: null, given: 214, returned: 0, broken: 0 });
    await busy.sawGeneration(now.number);
  }
  const reports = await Promise.all([busy.stop(), idle.stop()]);
  expect(reports.map(lost)).toEqual([NOTHING, NOTHING]);
  expect(reports.map(({ connections }) => connections)).toEqual([64, 150]);
});

describe("what moves", () => {
  it("a connection on which nothing was said yet, and one that says more at once, with no byte lost", async () => {
    await using generations = Generations.open();
    const one = await generations.start(APP).ready();
    const [fresh, kept] = (await clients(2, generations.port)) as [Client, Client];
    expect(await kept.ask()).toBe("v1");
    await generations.replace(one, APP);
    await one.exit();
    expect(await Promise.all([fresh.ask(), kept.ask()])).toEqual(["v2", "v2"]);
    close([fresh, kept]);
  });

  it("a busy one when its answer has ended, and one in the middle of a request when that is over", async () => {
    await using generations = Generations.open();
    const one = await generations.start(APP).ready();
    const [slow, half, stream] = (await clients(3, generations.port)) as [Client, Client, Client];
    const answers = slow.ask("/slow?ms=700");
    stream.socket.write("GET /stream?ms=700 HTTP/1.1\r\nHost: x\r\n\r\n");
    half.socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12");
    await once(stream.socket, "data"); // So the others have come as well.
    await generations.replace(one, APP);
    await one.stopping();
    expect(await half.ask("", ["345"])).toBe("v1");
    expect(await answers).toBe("v1");
    await one.exit();
    expect(await one.counts()).toMatchObject({ given: 3, returned: 0 });
    expect(await Promise.all([slow.ask(), half.ask()])).toEqual(["v2", "v2"]);
    close([slow, half, stream]);
  });

  it("one with a second request behind the first, when both are answered", async () => {
    await using generations = Generations.open();
    const one = await generations.start(APP).ready();
    const [client] = (await clients(1, generations.port)) as [Client];
    expect(await client.ask()).toBe("v1");
    const asked = client.ask(
      "",
      [300, 900].map((ms) => `GET /slow?ms=${ms} HTTP/1.1\r\nHost: x\r\n\r\n`),
    );
    // It has been heard when a later one is answered.
    expect(await (await Client.open(generations.port)).ask()).toBe("v1");
    await generations.replace(one, APP);
    expect(await asked).toBe("v1");
    await eventually("the second answer", () => client.text.split("x-version: v1").length === 3);
    expect(await one.exit()).toEqual({ code: 0, signal: null });
    expect(await client.ask()).toBe("v2");
    close([client]);
  });

  it("again and again, and leaves no descriptor behind", async () => {
    await using generations = Generations.open();
    const one = await generations.start(APP).ready();
    const all = await clients(100, generations.port);
    expect(tally(await askAll(all))).toEqual({ v1: 100 });
    const two = await generations.replace(one, APP);
    await one.exit();
    expect(tally(await askAll(all))).toEqual({ v2: 100 });
    const three = await generations.start(APP).ready();
    await eventually("its last word", () => three.notes.some((note) => note.has("STATUS")));
    // The socket by which it was said is closed right behind it: the same number twice.
    let before = 0;
    await eventually("a process at rest", () => before === (before = descriptorCount(three.pid)));
    generations.route(two, three);
    two.process.kill("SIGTERM");
    await two.exit();
    expect(tally(await askAll(all))).toEqual({ v3: 100 });
    close(all);
    await eventually(
      "the end of the route and of the connections",
      () => descriptorCount(three.pid) === before,
    );
  });

  it("and is not expected to ask soon: the time for a request's headers runs from its first byte", async () => {
    await using generations = Generations.open();
    const options = { environment: { HEADERS_MS: "400" } };
    const one = await generations.start(APP, options).ready();
    const all = await clients(5, generations.port);
    await askAll(all);
    const two = await generations.replace(one, APP, options);
    await one.exit();
    // Without having asked in between.
    const three = await generations.replace(two, APP, options);
    await two.exit();
    // The clock: one that has just come, and says nothing, is told 408 after that time.
    const silent = await Client.open(generations.port);
    await once(silent.socket, "close");
    expect(tally(await askAll(all))).toEqual({ v3: 5 });
    close(all);
    expect([...two.errors, ...three.errors]).toEqual([]);
  });
});

describe("where it cannot move", () => {
  it("nobody to take it: it learns with its next answer, and is not closed before", async () => {
    await using generations = Generations.open();
    const one = await generations.start(APP).ready();
    const all = await clients(20, generations.port);
    await askAll(all);
    one.process.kill("SIGTERM");
    await one.stopping();
    expect(tally(await askAll(all))).toEqual({ "v1 close": 20 });
    expect(await one.exit()).toEqual({ code: 0, signal: null });
    // It has asked for somebody.
    expect(one.said.map(({ type }) => type)).toContain(8);
  });

  it("a taker that drains itself refuses: they come back, and are served to their end", async () => {
    await using generations = Generations.open();
    const one = await generations.start(APP).ready();
    const all = await clients(20, generations.port);
    await askAll(all);
    const two = await generations.start(APP, { environment: { LINGERS: "1" } }).ready();
    generations.route(one, two);
    two.process.kill("SIGTERM");
    await two.stopping();
    one.process.kill("SIGTERM");
    await one.stopping();
    expect(tally(await askAll(all))).toEqual({ "v1 close": 20 });
    await one.exit();
    // The first is refused, and then it asks for no more.
    expect(await one.counts()).toMatchObject({ given: 0, returned: 1 });
  });

  it("a way that comes later is used for what is still there", async () => {
    await using generations = Generations.open();
    const one = await generations.start(APP).ready();
    const all = await clients(20, generations.port);
    await askAll(all);
    // Its parser is between two requests, and calls itself idle; the answer is still to come.
    const [slow] = (await clients(1, generations.port)) as [Client];
    slow.socket.write("GET /stream?ms=2000 HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(slow.socket, "data");
    one.process.kill("SIGTERM");
    await one.stopping();
    const two = await generations.start(APP).ready();
    generations.route(one, two);
    expect(await one.exit()).toEqual({ code: 0, signal: null });
    expect(slow.text).toContain("end\n");
    expect(tally(await askAll([...all, slow]))).toEqual({ v2: 21 });
    close([...all, slow]);
  });
});

it("one that is on its way is offered to nobody else, although another way is made", async () => {
  await using generations = Generations.open();
  const one = await generations.start(APP).ready();
  const all = await clients(50, generations.port);
  await askAll(all);
  const two = await generations.start(APP).ready();
  const three = await generations.start(APP).ready();
  generations.route(one, two);
  two.process.kill("SIGSTOP");
  one.process.kill("SIGTERM");
  await one.leaving(50);
  generations.route(one, three);
  // Heard when the connection that was made after the route is gone, which nobody can take.
  const last = await Client.open(generations.port);
  expect(await last.ask()).toBe("v3");
  two.process.kill("SIGCONT");
  await one.exit();
  expect(await one.counts()).toMatchObject({ given: 50, returned: 0 });
  expect(tally(await askAll(all))).toEqual({ v2: 50 });
  close([...all, last]);
});

it("all of them also when the daemon goes in the middle", async () => {
  await using generations = Generations.open();
  const one = await generations.start(APP).ready();
  const all = await clients(300, generations.port);
  await askAll(all);
  const two = await generations.start(APP).ready();
  generations.route(one, two);
  two.process.kill("SIGSTOP");
  one.process.kill("SIGTERM");
  await one.leaving(64);
  one.channel.close();
  two.process.kill("SIGCONT");
  await one.exit();
  expect(await one.counts()).toMatchObject({ given: 300, returned: 0 });
  expect(tally(await askAll(all))).toEqual({ v2: 300 });
  close(all);
});

describe("a death in the middle", () => {
  /** 300 kept connections, and a taker that does not run: what fits on the way is sent and not answered. */
  async function begin(generations: Generations): Promise<[Generation, Generation, Client[]]> {
    const one = await generations.start(APP).ready();
    const all = await clients(300, generations.port);
    await askAll(all);
    const two = await generations.start(APP).ready();
    generations.route(one, two);
    two.process.kill("SIGSTOP");
    one.process.kill("SIGTERM");
    await one.leaving(64);
    return [one, two, all];
  }

  it("of the old one: what it had sent is served, the rest is closed once", async () => {
    await using generations = Generations.open();
    const [one, two, all] = await begin(generations);
    one.process.kill("SIGKILL");
    await one.exit();
    two.process.kill("SIGCONT");
    expect(tally(await askAll(all))).toEqual({ v2: 64, "": 236 });
    const { body } = await ask({ host: "127.0.0.1", port: generations.port }, { path: "/moves" });
    expect(JSON.parse(body)).toMatchObject({ taken: 64, broken: 0 });
    close(all);
  });

  it("of the new one: what it had not taken is served by the old one", async () => {
    await using generations = Generations.open();
    const [one, two, all] = await begin(generations);
    two.process.kill("SIGKILL");
    await two.exit();
    expect(tally(await askAll(all))).toEqual({ "v1 close": 300 });
    await one.exit();
    expect(await one.counts()).toMatchObject({ given: 0, returned: 64 });
  });

  it("of the new one, which had taken them all: they die with it, and the old one has nothing to do with them", async () => {
    await using generations = Generations.open();
    const one = await generations.start(APP).ready();
    const all = await clients(50, generations.port);
    await askAll(all);
    const two = await generations.replace(one, APP);
    await one.exit();
    two.process.kill("SIGKILL");
    await two.exit();
    expect(tally(await askAll(all))).toEqual({ "": 50 });
  });
});
