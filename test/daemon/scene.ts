/** What a scrape finds: one service in the middle of a canary, its old generation's predecessor still draining. */
import type { Status } from "../../admin-api/schemas.ts";
import type { Scene } from "../../daemon/metrics/gauges.ts";

const EPOCH = new Date(0).toISOString();
const queue = (length: number) => ({ length, limit: 4096 });

const STATUS: Status = {
  version: "1.2.3",
  pid: 1,
  startedAt: new Date(5_000).toISOString(),
  upgrades: 0,
  listeners: [
    {
      name: "web",
      protocol: "tcp",
      address: "127.0.0.1:80",
      mode: "steered",
      slots: [
        { index: 0, generation: "api/3", weight: 0.95, queue: queue(2) },
        { index: 1, generation: "api/4", weight: 0.05, queue: queue(0) },
        { index: 2, generation: "api/2", weight: 0, queue: queue(0) },
        { index: 3, generation: null, weight: 0, queue: queue(0) },
        { index: 4, generation: null, weight: 0, queue: queue(0), held: [{ pid: 7, command: "child" }] },
      ],
    },
  ],
  services: [
    {
      name: "api",
      state: "running",
      current: 3,
      candidate: 4,
      previous: null,
      generations: [2, 3, 4].map((number) => ({
        number,
        version: null,
        state: number === 2 ? ("draining" as const) : ("serving" as const),
        weight: { 2: 0, 3: 0.95, 4: 0.05 }[number] ?? 0,
        connections: number,
        startedAt: EPOCH,
        instances: [{ id: 1, pid: 99, state: "serving" as const, restarts: 0 }],
      })),
      deploy: {
        id: "api-4",
        service: "api",
        strategy: "canary",
        from: 3,
        to: 4,
        version: null,
        phase: "shifting",
        weight: 0.05,
        touched: null,
        step: null,
        pinned: false,
        paused: true,
        requestedBy: "root (uid 0)",
        startedAt: EPOCH,
        finishedAt: null,
        reason: null,
        phases: [
          { phase: "starting", startedAt: EPOCH, finishedAt: EPOCH },
          { phase: "shifting", startedAt: new Date(9_000).toISOString(), finishedAt: null },
        ],
      },
      held: null,
    },
  ],
};

export const SCENE: Scene = { status: STATUS, drainingSince: new Map([["api", 8_000]]) };
