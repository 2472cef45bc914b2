/** Connections that outlive the process that accepted them. The daemon's side; the application speaks docs/wire.md by hand. */
import { afterEach, expect, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { NOTHING } from "../support/stage.ts";

let daemon: Daemon;
let target: string;

async function open(service: Config = {}): Promise<void> {
  daemon = await startDaemon({
    config: {
      ...oneService({
        command: commandOf("moves-connections.py"),
        ready: { by: "notify" },
        drain: { timeout: "60s" },
        ...service,
      }),
      // Other daemons of this host count theirs.
      marks: { base: 0x1_0000 * (1 + (process.pid % 0x7f00)) },
    },
  });
  target = addressOf(await daemon.status(), "web").target;
}
afterEach(() => daemon[Symbol.asyncDispose]());

/** A counter of the service, as Prometheus would see it. */
async function counter(name: string): Promise<number> {
  const { json } = await daemon.api("GET", "/metrics");
  const line = new RegExp(`^handoffd_${name}\\{service="api"\\} (\\d+)$`, "m").exec(String(json));
  return Number(line?.[1] ?? NaN);
}

const alone = () =>
  daemon.until("one generation", ({ services: [service] }) => service?.generations.length === 1);

test("a deploy closes no connection: each goes to the next generation, and the daemon counts it there", async () => {
  await open();
  await using busy = startLoad({ target, mode: "keepalive", connections: 16, thinkMs: [0, 20] });
  await using idle = startLoad({ target, mode: "idle", connections: 200 });
  await Promise.all([busy.settled, idle.settled]);
  for (const version of ["v1", "v2", "v3"]) {
    expect((await daemon.deploy(version)).phase).toBe("succeeded");
    await alone();
  }
  expect((await daemon.service()).generations[0]?.connections).toBe(216);
  const reports = [await busy.stop(), await idle.stop()];
  expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING]);
  expect(reports.map(({ connections, closedIdle }) => [connections, closedIdle])).toEqual([
    [16, 0],
    [200, 0],
  ]);
  expect(await counter("connections_moved_total")).toBe(3 * 216);
  expect(await counter("connections_move_failed_total")).toBe(0);
  const said = daemon.log().filter(({ msg }) => msg === "generation.moved");
  expect(said.map(({ detail }) => detail)).toEqual([
    "api/1 moved 216 connections to api/2, 0 drained",
    "api/2 moved 216 connections to api/3, 0 drained",
    "api/3 moved 216 connections to api/4, 0 drained",
  ]);
});
