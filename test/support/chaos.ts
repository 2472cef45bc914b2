/**
 * Random deploys, rollbacks, deaths, upgrades, reloads and full disks under load. A seed gives the order: a run that failed can be run again.
 *
 * Instances are killed only before they have a user (a candidate behind the gate). One that serves takes the connections with it that
 * it had accepted, which nobody else could save: crash.test.ts counts those apart.
 */
import { setTimeout as delay } from "node:timers/promises";
import { startDaemon, type Daemon } from "./daemon.ts";
import { Disk } from "./disk.ts";
import { lost, type Losses, startLoad } from "./load.ts";
import { oneService } from "./one-service.ts";
import { addressOf } from "./ports.ts";
import { eventually, killOne } from "./processes.ts";
import { Random } from "./random.ts";
import { type Deploy, type ServiceStatus, TERMINAL } from "./status.ts";

export interface ChaosOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly progress?: (action: string) => void;
}

export interface ChaosReport {
  readonly seconds: number;
  /** How often each was done. */
  readonly actions: Readonly<Record<string, number>>;
  /** In order: what a run with the same seed does again. */
  readonly order: readonly string[];
  /** Whether the disk could be filled: mounting one of its own needs root. */
  readonly hasDisk: boolean;
  readonly requests: number;
  /** Of new connections, then of kept ones. */
  readonly losses: readonly Losses[];
  readonly deploys: Readonly<Record<string, number>>;
  /** What is not as it should be at the end; empty when all is well. */
  readonly wrong: readonly string[];
}

const ACTIONS = [
  "deploy",
  "deploy",
  "deploy",
  "bad",
  "rollback",
  "abort",
  "kill",
  "upgrade",
  "instance",
  "reload",
  "disk",
] as const;
const MOST_PAUSE_MS = 400;
const FULL_MS = 1_200;

export async function chaos({ seconds, seed, progress }: ChaosOptions): Promise<ChaosReport> {
  const random = new Random(seed);
  using disk = Disk.open();
  await using daemon = await startDaemon({ config: { ...configuration(), paths: { state: disk.path } } });
  const { target } = addressOf(await daemon.status(), "web");
  const common = { target, connections: 4, rate: 100, timeoutMs: 60_000, lateMs: 30_000, seconds: 900 };
  await using fresh = startLoad({ ...common, mode: "new" });
  await using kept = startLoad({ ...common, mode: "keepalive", thinkMs: [0, 20] });
  await Promise.all([fresh.started, kept.started]);
  const order: string[] = [];
  const actor = new Actor(daemon, disk);
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const action = random.pick(ACTIONS);
    order.push(action);
    progress?.(`${order.length} ${action}`);
    await actor[action](random);
    await delay(random.below(MOST_PAUSE_MS));
  }
  const wrong = await actor.calm();
  const reports = await Promise.all([fresh.stop(), kept.stop()]);
  return {
    seconds,
    actions: count(order),
    order,
    hasDisk: disk.canBeFilled,
    requests: reports.reduce((sum, { requests }) => sum + requests, 0),
    losses: reports.map((report) => lost(report)),
    deploys: count(await actor.phases()),
    wrong,
  };
}

function configuration(): ReturnType<typeof oneService> {
  const verify = [
    { http: { path: "/healthz" } },
    {
      command: ["/bin/sh", "-c", "case $HANDOFF_VERSION in bad*) exit 1;; slow*) sleep 1;; esac"],
      timeout: "30s",
    },
  ];
  return oneService({
    instances: 2,
    verify,
    deploy: { bake: "300ms" },
    // Nobody is to be cut by a drain that a busy machine makes long.
    drain: { timeout: "120s" },
    restart: { backoff: "50ms..100ms" },
  });
}

class Actor {
  readonly #daemon: Daemon;
  readonly #disk: Disk;
  #versions = 0;

  constructor(daemon: Daemon, disk: Disk) {
    this.#daemon = daemon;
    this.#disk = disk;
  }

  /** Refused while another one is running: that is fine, too. */
  async deploy(random: Random): Promise<void> {
    await this.#post("/v1/services/api/deploys", {
      version: `v${this.#versions++}`,
      bake: random.pick(["50ms", "300ms", "2s"]),
    });
  }

  async bad(): Promise<void> {
    await this.#post("/v1/services/api/deploys", { version: "bad" });
  }

  async rollback(): Promise<void> {
    await this.#post("/v1/services/api/rollback");
  }

  async abort(): Promise<void> {
    const { deploy } = await this.#daemon.service();
    if (deploy !== null) await this.#post(`/v1/deploys/${deploy.id}/abort`);
  }

  async kill(): Promise<void> {
    this.#daemon.kill("SIGKILL");
    await this.#daemon.exit;
    await this.#daemon.start();
  }

  async upgrade(): Promise<void> {
    await this.#daemon.upgrade();
  }

  /** Of a candidate that waits for its verification. */
  async instance(): Promise<void> {
    const { status } = await this.#daemon.api("POST", "/v1/services/api/deploys", {
      version: `slow${this.#versions++}`,
    });
    if (status !== 202) return;
    const look = async (): Promise<number | null | undefined> => {
      const { deploy, candidate, generations } = await this.#daemon.service();
      if (deploy === null) return null;
      if (deploy.phase !== "verifying") return undefined;
      const found = generations.find(({ number, weight }) => number === candidate && weight === 0);
      return found?.instances[0]?.pid ?? null;
    };
    const pid = await eventually("a candidate", look, 60_000);
    if (pid !== null) killOne(pid);
  }

  /** A version without it says that it has no such resource. */
  async reload(): Promise<void> {
    await this.#post("/v1/reload");
  }

  async disk(): Promise<void> {
    using _full = this.#disk.fill();
    await this.#post("/v1/services/api/deploys", { version: `v${this.#versions++}` });
    await delay(FULL_MS);
  }

  async #post(path: string, body?: object): Promise<void> {
    const { status, json } = await this.#daemon.api("POST", path, body);
    const isFull = status === 500 && JSON.stringify(json).includes("STATE_NOT_WRITTEN");
    if (status >= 500 && !isFull) throw new Error(`${path}: ${status} ${JSON.stringify(json)}`);
  }

  async phases(): Promise<string[]> {
    const { json } = await this.#daemon.api("GET", "/v1/deploys?limit=100");
    return (json as { readonly deploys: readonly Deploy[] }).deploys.map(({ phase }) => phase);
  }

  /** What is wrong when everything has come to rest. */
  async calm(): Promise<string[]> {
    const daemon = this.#daemon;
    const rest = await daemon.until(
      "rest",
      ({ services: [service] }) =>
        service?.deploy === null && service.generations.length === 1 && isWhole(service) && service,
      180_000,
    );
    const wrong: string[] = [];
    const [generation] = rest.generations;
    if (generation?.weight !== 1 || generation.number !== rest.current) wrong.push(JSON.stringify(rest));
    const known = new Set([daemon.pid, ...(generation?.instances.map(({ pid }) => pid) ?? [])]);
    const others = (): number[] => daemon.processes().filter((pid) => !known.has(pid));
    // Of others there is the keeper.
    await eventually("the end of the others", () => others().length === 1, 10_000).catch(() =>
      wrong.push(`left: ${others().join(" ")}`),
    );
    const last = await daemon.deploy("last");
    if (last.phase !== "succeeded") wrong.push(`the last deploy: ${JSON.stringify(last)}`);
    if ((await this.phases()).some((phase) => !TERMINAL.includes(phase)))
      wrong.push("a deploy that never ends");
    return wrong;
  }
}

function isWhole({ state }: ServiceStatus): boolean {
  return state === "running";
}

function count(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
