/** Instance by instance: both generations serve, and never fewer than the floor. */
import { expect, test } from "vitest";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import type { ServiceStatus } from "../support/status.ts";
import { NOTHING } from "../support/stage.ts";

const FLOOR = 3;

function rolling(deploy: Config = {}, service: Config = {}): Config {
  return oneService({
    instances: 4,
    ready: { by: "notify", timeout: "10s" },
    command: commandOf("notify-by-child.mjs"),
    deploy: { strategy: "rolling", floor: FLOOR, bake: "50ms", ...deploy },
    ...service,
  });
}

/** Looks at the service all the time until it is told to stop. */
class Watch {
  readonly seen: ServiceStatus[] = [];
  readonly #daemon: Daemon;
  #isOver = false;
  readonly #watching: Promise<void>;

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
    this.#watching = this.#look();
  }

  async #look(): Promise<void> {
    while (!this.#isOver) this.seen.push(await this.#daemon.service());
  }

  async stop(): Promise<readonly ServiceStatus[]> {
    this.#isOver = true;
    await this.#watching;
    return this.seen;
  }
}

function serving({ generations }: ServiceStatus, number?: number): number {
  return generations
    .filter((generation) => number === undefined || generation.number === number)
    .flatMap(({ instances }) => instances)
    .filter(({ state }) => state === "serving").length;
}

test(
  "four instances are replaced one by one, never fewer than the floor serve, and nobody is lost",
  { timeout: 90_000 },
  async () => {
    await using daemon = await startDaemon({ config: rolling() });
    const { target } = addressOf(await daemon.status(), "web");
    await using fresh = startLoad({ target, mode: "new", connections: 16, rate: 300, lateMs: 5000 });
    await using kept = startLoad({ target, mode: "keepalive", connections: 16, rate: 200, lateMs: 5000 });
    await Promise.all([fresh.started, kept.started]);
    const watch = new Watch(daemon);
    expect(await daemon.deploy("v1", { timeoutMs: 60_000 })).toMatchObject({
      phase: "succeeded",
      reason: null,
    });
    const seen = await watch.stop();
    expect(Math.min(...seen.map((service) => serving(service)))).toBeGreaterThanOrEqual(FLOOR);
    const pairs = new Set(seen.map((service) => `${serving(service, 1)}+${serving(service, 2)}`));
    // Both at once, in several proportions; the host never had room for both in full but at the end of the floor.
    expect(
      [...pairs].filter((pair) => !pair.startsWith("0+") && !pair.endsWith("+0")).length,
    ).toBeGreaterThan(2);
    const weights = seen.map(({ generations }) => generations.reduce((sum, { weight }) => sum + weight, 0));
    expect(weights.filter((sum) => Math.abs(sum - 1) > 1e-9)).toEqual([]);
    await daemon.until("four of the new generation", ({ services }) => {
      const [service] = services;
      return service?.generations.length === 1 && serving(service, 2) === 4;
    });
    expect(lost(await fresh.stop())).toEqual(NOTHING);
    expect(lost(await kept.stop())).toEqual(NOTHING);
  },
);

test(
  "asked to go back in the middle, the previous generation is whole again before the candidate goes",
  { timeout: 90_000 },
  async () => {
    await using daemon = await startDaemon({ config: rolling({ bake: "100s" }) });
    const { target } = addressOf(await daemon.status(), "web");
    await using load = startLoad({ target, mode: "new", connections: 16, rate: 300, lateMs: 5000 });
    await load.started;
    const watch = new Watch(daemon);
    const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" });
    const { id } = json as { id: string };
    await eventually("two of each", async () => serving(await daemon.service(), 2) >= 2);
    expect((await daemon.api("POST", "/v1/services/api/rollback")).status).toBe(202);
    expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "rolled-back" });
    const seen = await watch.stop();
    expect(Math.min(...seen.map((service) => serving(service)))).toBeGreaterThanOrEqual(FLOOR);
    await daemon.until("four of the previous generation alone", ({ services }) => {
      const [service] = services;
      return service?.generations.length === 1 && serving(service, 1) === 4;
    });
    expect(lost(await load.stop())).toEqual(NOTHING);
  },
);

test(
  "a service is scaled up and down under load, and its next generation has as many",
  { timeout: 90_000 },
  async () => {
    await using daemon = await startDaemon({
      config: rolling({}, { instances: 1, deploy: { bake: "50ms" } }),
    });
    const { target } = addressOf(await daemon.status(), "web");
    await using fresh = startLoad({ target, mode: "new", connections: 16, rate: 300, lateMs: 5000 });
    await using kept = startLoad({ target, mode: "keepalive", connections: 16, rate: 200, lateMs: 5000 });
    await Promise.all([fresh.started, kept.started]);
    for (const instances of [4, 2, 3, 1]) {
      expect((await daemon.cli("scale", "api", String(instances))).code).toBe(0);
      await daemon.until(`${instances} that serve and no other`, ({ services }) => {
        const [generation] = services[0]?.generations ?? [];
        return (
          generation?.instances.length === instances &&
          generation.instances.every(({ state }) => state === "serving")
        );
      });
      expect((await daemon.service()).state).toBe("running");
    }
    expect((await daemon.cli("scale", "api", "2")).code).toBe(0);
    await daemon.stop("SIGKILL");
    await daemon.restart();
    expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
    await daemon.until("two of the next generation", ({ services }) => {
      return services[0]?.generations.at(-1)?.instances.length === 2;
    });
    expect(lost(await fresh.stop())).toEqual(NOTHING);
    expect(lost(await kept.stop())).toEqual(NOTHING);
  },
);
