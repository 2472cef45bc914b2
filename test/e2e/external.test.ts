/** Instances that someone else starts: scripts in place of a service manager, and people who have no business there. */
import { expect, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf, root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { alive, environment, end, eventually, killOne, start, type Process } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";

const LAUNCHER = `${root}/build/Release/handoff-exec`;
const SOCKET = "{dir}/run/api.sock";
const APPLICATION = commandOf("polite.mjs");

/** Starts it beside itself and returns, as service managers do. */
const START = [
  "/bin/sh",
  "-c",
  `"$0" --socket "$1" --place "$2" -- "$3" "$4" </dev/null & echo $! > "$1.$2.pid"`,
  LAUNCHER,
  SOCKET,
  "{generation}-{instance}",
  ...APPLICATION,
];
const STOP = [
  "/bin/sh",
  "-c",
  'kill -TERM "$(cat "$0.$1.pid")"; echo "$1" >> "$0.stopped"',
  SOCKET,
  "{generation}-{instance}",
];

function external(more: Config = {}, service: Config = {}): Config {
  return oneService({
    command: undefined,
    instances: 2,
    external: { allow: { uid: process.getuid?.() ?? 0 }, start: START, stop: STOP, ...more },
    restart: { backoff: "50ms..100ms" },
    ...service,
  });
}

async function pidsOf(daemon: Daemon): Promise<number[]> {
  const { generations, current } = await daemon.service();
  return generations.find(({ number }) => number === current)?.instances.map(({ pid }) => pid) ?? [];
}

test("deploys and a rollback of what someone else starts lose no request", { timeout: 60_000 }, async () => {
  await using daemon = await startDaemon({ config: external({}, { deploy: { bake: "50ms" } }) });
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "new", connections: 8, rate: 300 });
  await using kept = startLoad({ target, mode: "keepalive", connections: 8, thinkMs: [0, 20], rate: 300 });
  await Promise.all([load.started, kept.started]);
  for (const version of ["v1", "v2", "v3", "v4", "v5"]) {
    expect(await daemon.deploy(version)).toMatchObject({ phase: "succeeded", reason: null });
  }
  expect(await pidsOf(daemon)).toHaveLength(2);
  expect([lost(await load.stop()), lost(await kept.stop())]).toEqual([NOTHING, NOTHING]);
});
