// What it costs to give new connections another way: one Listener.steer(), while they arrive as fast as they can.
import { setTimeout as delay } from "node:timers/promises";
import { disposing, start } from "./support/child.mjs";
import { loadGenerator, program } from "./support/compile.mjs";
import { row } from "./support/figures.mjs";
import { product } from "./support/product.mjs";

export const title = "one change of the weights, with and without new connections";

const SHARES = [0, 0.05, 0.5, 1];
const PAUSE_MS = 1;

export function run(options) {
  return disposing((own) => measure(options, own));
}

async function measure({ quick }, own) {
  const { NO_KEEPER } = await product("handoff/keeper");
  const { TcpListener } = await product("handoff/tcp-listener");
  const listener = await TcpListener.open(
    {
      name: "bench",
      address: { kind: "tcp", family: "inet", host: "127.0.0.1", port: 0 },
      backlog: 4096,
      mode: null,
      gid: null,
      nextMark: null,
      keeper: () => NO_KEEPER,
      alwaysPinned: true,
      holderOf: () => null,
    },
    { kind: "tcp", family: "inet", host: "127.0.0.1", port: 0 },
  );
  own({ [Symbol.asyncDispose]: () => listener.close() });
  const current = await listener.take("bench/1"); // The one slot that there is has the weight: this opens another.
  for (const slot of listener.slots) {
    const server = start(program("application"), [], { stdio: ["ignore", "ignore", "inherit", slot.fd] });
    own({ [Symbol.asyncDispose]: () => server.end() });
  }
  const count = quick ? 100 : 1_000;
  const alone = await changes(listener, current, count);
  const load = start(loadGenerator(), [
    ...["--target", listener.address, "--mode", "new", "--connections", "16", "--seconds", "120"],
  ]);
  own({ [Symbol.asyncDispose]: () => load.end("SIGKILL") });
  await delay(200);
  const began = performance.now();
  const loaded = await changes(listener, current, count);
  const seconds = (performance.now() - began) / 1000;
  load.child.kill("SIGTERM");
  const report = JSON.parse(await load.rest());
  const failed = report.requests - report.ok;
  if (failed > 0) throw new Error(`${failed} of ${report.requests} requests failed`);
  const rate = Math.round(report.requests / (report.durationMs / 1000));
  return [
    row(
      `under ${rate} new connections/s (0 failed, ${(count / seconds).toFixed(0)} changes/s)`,
      "µs",
      loaded,
      {
        goal: 100,
      },
    ),
    row("without load", "µs", alone),
  ];
}

async function changes(listener, slot, count) {
  const other = listener.slots.find((each) => each !== slot);
  const times = [];
  for (let i = 0; i < count; i++) {
    const share = SHARES[i % SHARES.length];
    const shares = [
      { slot: slot.index, share },
      { slot: other.index, share: 1 - share },
    ];
    const began = performance.now();
    listener.steer(shares);
    times.push((performance.now() - began) * 1000);
    await delay(PAUSE_MS);
  }
  return times;
}
