import { expect, test } from "vitest";

import type { Status } from "../../admin-api/schemas.ts";
import { PLAIN } from "../../cli/look.ts";
import { renderTop } from "../../cli/render-top.ts";
import { serve } from "../admin-api/serving.ts";
import { root } from "../support/paths.ts";
import { Terminal } from "../support/terminal.ts";
import { handoffctl } from "./command-line.ts";

const NOW = Date.parse("2026-01-02T03:04:05.000Z");
const at = (seconds: number): string => new Date(NOW + seconds * 1000).toISOString();
const instance = { id: 1, pid: 7, state: "serving", restarts: 1 } as const;

const status: Status = {
  version: "0.1.0",
  pid: 41,
  startedAt: at(-7320),
  upgrades: 1,
  listeners: [
    {
      name: "web",
      protocol: "tcp",
      address: "0.0.0.0:8080",
      mode: "steered",
      slots: [{ index: 0, generation: "api/3", weight: 1, queue: { length: 3, limit: 4096 } }],
    },
  ],
  services: [
    {
      name: "api",
      state: "running",
      current: 3,
      candidate: null,
      previous: null,
      generations: [
        {
          number: 2,
          version: "41",
          state: "draining",
          weight: 0,
          connections: 4,
          draining: { since: at(-5), deadline: at(25), connections: 4 },
          startedAt: at(-900),
          instances: [instance],
        },
        {
          number: 3,
          version: "42",
          state: "serving",
          weight: 1,
          connections: 17,
          startedAt: at(-9),
          instances: [{ ...instance, restarts: 0 }],
        },
      ],
      deploy: null,
      held: null,
    },
  ],
};

const events = Array.from({ length: 9 }, (_, id) => ({
  id,
  at: at(id - 20),
  type: "instance.exited",
  message: `number ${id}`,
}));

function draw(rows: number, columns = 80, trouble: string | null = null): readonly string[] {
  return renderTop({ status, events, trouble }, NOW, rows, { ...PLAIN, columns });
}

test("all of it is seen where there is room", () => {
  expect(draw(24)).toEqual([
    "handoffd 0.1.0, pid 41, up 2 h 2 min, 1 upgrade                         03:04:05",
    "",
    "api  running, 3 waiting to be accepted, 1 restart",
    "     2  41            draining  ░░░░░░░░░░░░░░░░     0 %    1/1      4 conn  at…",
    "     3  42            serving   ████████████████   100 %    1/1     17 conn",
    "",
    "web  tcp:0.0.0.0:8080  queue 3 of 4096",
    "",
    ...events.slice(1).map(({ id, at: when }) => `${when.slice(11, 19)}  instance.exited     number ${id}`),
    "q or Ctrl-C ends this, and nothing else",
  ]);
});

test.each([
  [24, 80],
  [24, 40],
  [10, 80],
  [6, 80],
  [3, 20],
])("in %d rows of %d columns nothing is longer, and what is left out is said", (rows, columns) => {
  const lines = draw(rows, columns, "handoffd is not reachable");
  expect(lines.length).toBeLessThanOrEqual(rows);
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(columns);
});

test("where not all fits, the newest events stay as long as possible, and then it is said how much is missing", () => {
  expect(draw(11).slice(-3)).toEqual([
    expect.stringContaining("number 7"),
    expect.stringContaining("number 8"),
    "q or Ctrl-C ends this, and nothing else",
  ]);
  expect(draw(6).slice(-2)).toEqual(["… 3 lines more", "q or Ctrl-C ends this, and nothing else"]);
});

test("top shows what happens, says when the daemon is away, and gives the terminal back", async () => {
  const { path, operations, server } = await serve();
  await using terminal = await Terminal.open([`${root}/bin/handoffctl`, "top"], {
    environment: { HANDOFFD_SOCKET: path },
  });
  await terminal.until(/^api {2}running$/mu);
  operations.events.append({ type: "instance.exited", message: "instance 1 of api/3 ended" });
  await terminal.until(/instance\.exited {5}instance 1 of api\/3 ended/u);
  await server.close();
  await terminal.until(/^handoffd is not reachable/mu);
  await terminal.press("q");
  const after = await terminal.until("exit 0");
  expect(after).toBe("exit 0");
});

test("without a terminal top shows one picture, and with --json the status", async () => {
  const { path, operations } = await serve();
  const { code, stdout } = await handoffctl(path, "top");
  expect([code, stdout.split("\n").slice(2, 3)]).toEqual([0, ["api  running"]]);
  expect(stdout).not.toContain("q or Ctrl-C");
  expect(JSON.parse((await handoffctl(path, "top", "--json")).stdout)).toEqual(operations.status());
  expect((await handoffctl("/nowhere", "top")).code).toBe(3);
});
