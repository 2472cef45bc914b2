// One of the hot pieces, so many times: `node hot-pieces.mjs frame 1000`. All is loaded whatever is done, so that a run of 0 times is
// what the others have in common.
import process from "node:process";
import { product } from "./product.mjs";

const { encodeFrame, parseFrame, textField, u32Field } = await product("handoff/frame");
const { compileSteering: compile } = await product("handoff/steering");
const { parseNetworks } = await product("handoff/network");
const { createMetrics } = await product("daemon/metrics");

const FIELDS = [
  u32Field(1, 250),
  ...Array.from({ length: 7 }, (_, index) => textField(2, `slot/web/${index}`)),
];
const NETWORKS = parseNetworks(Array.from({ length: 10 }, (_, index) => `10.${index}.0.0/16`));
const SCENE = {
  status: {
    version: "0.0.0",
    startedAt: "2026-01-01T00:00:00.000Z",
    services: [],
    listeners: Array.from({ length: 1_000 }, (_, index) => ({
      name: `listener-${index}`,
      slots: [{ index: 0, generation: null, weight: 1, queue: { length: 0, limit: 4096 } }],
    })),
  },
  drainingSince: new Map(),
};
const STEERING = {
  family: "inet",
  slots: 3,
  shares: [
    { slot: 1, share: 0.05 },
    { slot: 2, share: 0.95 },
  ],
  guests: { slot: 1, networks: NETWORKS },
  pins: true,
};
const metrics = createMetrics("0.0.0", () => SCENE);

const PIECES = {
  frame: () => parseFrame(encodeFrame({ type: 1, flags: 0, fields: FIELDS })),
  steering: () => compile(STEERING),
  scrape: () => metrics.page(),
};

const [piece, times] = process.argv.slice(2);
for (let i = 0; i < Number(times); i++) await PIECES[piece]();
