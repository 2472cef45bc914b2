// One descriptor to another process and its acknowledgement back, four ways: where both run on one processor, so that a
// message costs what is done for it, and where each has its own, so that it costs the waking up as well.
import { fork } from "node:child_process";
import { mkdtempSync, openSync, closeSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { disposing, start } from "./support/child.mjs";
import { program } from "./support/compile.mjs";
import { ratio, row, takeTurns } from "./support/figures.mjs";
import { processors, runOn } from "./support/processors.mjs";
import { product } from "./support/product.mjs";

export const title = "one descriptor to another process, and the acknowledgement back";

const MESSAGE_SIZE = 64;
/** Rounds that are not counted: V8 compiles what is called often. */
const WARM_UP = 5;

export async function run(options) {
  const all = processors();
  const [here] = all;
  const there = all.at(-1);
  const rows = [];
  try {
    runOn(process.pid, [here]);
    rows.push(...(await disposing((own) => compare("one processor", here, options, own))));
    if (there !== here) {
      rows.push(...(await disposing((own) => compare("two processors", there, options, own))));
    }
  } finally {
    runOn(process.pid, all);
  }
  return rows;
}

/** `there`: the processor of whoever answers. */
async function compare(where, there, { quick }, own) {
  const rounds = quick ? 3 : 20;
  const count = quick ? 50 : 300;
  const floor = own(await floorSide());
  const addon = own(await addonSide());
  const keeper = own(await keeperSide());
  const node = own(await nodeSide());
  for (const { answerer } of [floor, addon, keeper, node]) runOn(answerer, [there]);
  const sides = {
    floor: () => floor.roundTrips(count),
    addon: () => addon.roundTrips(count),
    keeper: () => keeper.roundTrips(count),
    node: () => node.roundTrips(count),
  };
  for (const warmUp of Object.values(sides)) for (let round = 0; round < WARM_UP; round++) await warmUp();
  const times = await takeTurns(rounds, sides);
  const figures = (name, side, more) => row(`${where}: ${name}`, "µs", times[side].flat(), more);
  return [
    figures("two C processes, blocking", "floor", {
      ratio: ratio(times.floor, times.node),
      of: "child.send",
    }),
    figures("two Node processes, our addon", "addon", {
      ratio: ratio(times.addon, times.floor),
      of: "C",
      goalRatio: 2.5,
    }),
    figures("the same, beside child.send", "addon", {
      ratio: ratio(times.addon, times.node),
      of: "child.send",
      goalRatio: 0.5,
    }),
    figures("daemon to keeper (whole frames, checked)", "keeper", {
      ratio: ratio(times.keeper, times.floor),
      of: "C",
    }),
    figures("two Node processes, child.send(message, handle)", "node", {
      ratio: ratio(times.node, times.floor),
      of: "C",
    }),
  ];
}

const microseconds = (from) => (performance.now() - from) * 1000;

async function floorSide() {
  const pair = start(program("floor"), []);
  const answerer = Number(await pair.line());
  return {
    answerer,
    async roundTrips(count) {
      pair.child.stdin.write(`${count}\n`);
      return (await pair.line()).split(" ").map((ns) => Number(ns) / 1000);
    },
    [Symbol.asyncDispose]: () => pair.end(),
  };
}

/** One after the other: `begin` starts a round trip, whoever gets the acknowledgement calls the function it was given. */
function oneByOne(count, begin) {
  return new Promise((resolve, reject) => {
    const times = [];
    let began;
    const next = () => {
      began = performance.now();
      try {
        begin(acknowledged);
      } catch (error) {
        reject(error);
      }
    };
    const acknowledged = () => {
      times.push(microseconds(began));
      if (times.length === count) resolve(times);
      else next();
    };
    next();
  });
}

async function addonSide() {
  const { native } = await product("handoff/native");
  const [ours, theirs] = native.seqpacketPair();
  const passed = native.socket("inet", "stream", false);
  const answerer = fileURLToPath(new URL("support/answerer.mjs", import.meta.url));
  const peer = start(process.execPath, [answerer], { stdio: ["ignore", "pipe", "inherit", theirs] });
  native.close(theirs);
  await peer.line();
  const message = new Uint8Array(MESSAGE_SIZE);
  const buffer = new Uint8Array(MESSAGE_SIZE);
  let acknowledged = () => undefined;
  const poll = new native.Poll(ours, () => {
    const received = native.receiveMessage(ours, buffer, 1);
    if (received === null) return;
    if (received.length === 0) throw new Error("the other process has ended");
    acknowledged();
  });
  poll.start();
  return {
    answerer: peer.child.pid,
    roundTrips: (count) =>
      oneByOne(count, (callback) => {
        acknowledged = callback;
        if (!native.sendMessage(ours, message, [passed])) throw new Error("the queue is full");
      }),
    async [Symbol.asyncDispose]() {
      poll.close();
      native.close(ours);
      native.close(passed);
      await peer.exit;
    },
  };
}

/** What the product does for each slot: a named descriptor to the keeper, which says OK when it holds it. */
async function keeperSide() {
  const { native } = await product("handoff/native");
  const { KeeperProcess } = await product("handoff/keeper");
  const folder = mkdtempSync(join(tmpdir(), "hd-bench-"));
  const devNull = openSync("/dev/null", "r+");
  const passed = native.socket("inet", "stream", false);
  const keeper = KeeperProcess.start(join(folder, "keeper.sock"), [devNull, devNull, 2]);
  keeper.watch(() => undefined);
  return {
    answerer: keeper.pid,
    async roundTrips(count) {
      const times = [];
      for (let i = 0; i < count; i++) {
        const began = performance.now();
        await keeper.put("bench", passed);
        times.push(microseconds(began));
      }
      return times;
    },
    async [Symbol.asyncDispose]() {
      await keeper.release();
      native.close(passed);
      closeSync(devNull);
      rmSync(folder, { recursive: true });
    },
  };
}

async function nodeSide() {
  const peer = fork(fileURLToPath(new URL("support/handle-answerer.mjs", import.meta.url)));
  const server = createServer().listen(0, "127.0.0.1");
  await Promise.all([once(peer, "message"), once(server, "listening")]);
  return {
    answerer: peer.pid,
    roundTrips: (count) =>
      oneByOne(count, (callback) => {
        peer.once("message", callback);
        peer.send("take this", server);
      }),
    async [Symbol.asyncDispose]() {
      peer.disconnect();
      await once(peer, "exit");
      server.close();
    },
  };
}
