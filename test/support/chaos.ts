/**
 * Random deploys of every strategy, rollbacks, holds, scalings, deaths, upgrades, reloads and full disks under load. A seed gives the order
 * and whatever else is drawn, which is drawn whatever the daemon answers: a run that failed can be run again.
 *
 * Instances are killed only before they have a user (a candidate behind the gate). One that serves takes the connections with it that
 * it had accepted, which nobody else could save: crash.test.ts counts those apart.
 */
import { setTimeout as delay } from "node:timers/promises";
import { startDaemon, type Config, type Daemon } from "./daemon.ts";
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
  /** What the API answered, by path and status: what was refused did nothing. */
  readonly answers: Readonly<Record<string, number>>;
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
  "hold",
  "scale",
  "reload",
  "disk",
] as const;
const STRATEGIES = ["blue-green", "blue-green", "canary", "rolling", "recreate"] as const;
/** What happens while connections wait. */
const MEANWHILE = ["kill", "upgrade", "scale", "reload"] as const;
const MOST_PAUSE_MS = 400;
const FULL_MS = 1_200;

export async function chaos({ seconds, seed, progress }: ChaosOptions): Promise<ChaosReport> {
  const random = new Random(seed);
  using disk = Disk.open();
  await using daemon = await startDaemon({ config: configured(disk) });
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
    answers: count(actor.answers),
    requests: reports.reduce((sum, { requests }) => sum + requests, 0),
    losses: reports.map((report) => lost(report)),
    deploys: count(await actor.phases()),
    wrong,
  };
}

function configuration({ backlog = 512, environment = {} }: Change = {}): Config {
  const verify = [
    { http: { path: "/healthz" } },
    {
      command: ["/bin/sh", "-c", "case $HANDOFF_VERSION in bad*) exit 1;; slow*) sleep 1;; esac"],
      timeout: "30s",
    },
  ];
  const { services } = oneService({
    instances: 2,
    environment,
    verify,
    deploy: { bake: "300ms" },
    // Nobody is to be cut by a drain that a busy machine makes long.
    drain: { timeout: "120s" },
    restart: { backoff: "50ms..100ms" },
  });
  return { services, listeners: { web: { address: "tcp:127.0.0.1:0", backlog } } };
}

function configured(disk: Disk, change: Change = {}): Config {
  return { ...configuration(change), paths: { state: disk.path } };
}

/** What a reload changes. */
interface Change {
  readonly backlog?: number;
  readonly environment?: Readonly<Record<string, string>>;
}

class Actor {
  readonly #daemon: Daemon;
  readonly #disk: Disk;
  readonly answers: string[] = [];
  #versions = 0;

  constructor(daemon: Daemon, disk: Disk) {
    this.#daemon = daemon;
    this.#disk = disk;
  }

  /** Refused while another one is running: that is fine, too. */
  async deploy(random: Random): Promise<void> {
    const strategy = random.pick(STRATEGIES);
    const bake = random.pick(["50ms", "300ms", "2s"]);
    const steps = [5, 50].map((weight) => ({
      weight: `${weight}%`,
      for: `${100 * (1 + random.below(5))}ms`,
    }));
    await this.#post("/v1/services/api/deploys", {
      version: `v${this.#versions++}`,
      strategy,
      bake,
      ...(strategy === "canary" ? { steps } : {}),
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
    // Not until it is ready: a service that is held is not.
    await this.#daemon.start("alive");
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

  /** Something else happens while connections wait, and then they are served. */
  async hold(random: Random): Promise<void> {
    const idle = random.below(2) === 0;
    const meanwhile = random.pick(MEANWHILE);
    const other = new Random(random.below(1_000_000));
    if ((await this.#post("/v1/services/api/hold", { idle })) !== 200) return;
    await this[meanwhile](other);
    const status = await this.#post("/v1/services/api/resume");
    if (status !== 202) throw new Error(`a service that is held was not resumed: ${status}`);
  }

  /** Refused while a deploy is under way, or a hold. */
  async scale(random: Random): Promise<void> {
    await this.#ask("PUT", "/v1/services/api/scale", { instances: 1 + random.below(3) });
  }

  /** A file that has changed: what the listener says at once, and what the next deploy brings. */
  async reload(random: Random): Promise<void> {
    const backlog = 256 + random.below(1_000);
    const environment = { CHAOS: String(random.below(1_000)) };
    this.#daemon.configure(configured(this.#disk, { backlog, environment }));
    await this.#post("/v1/reload");
  }

  async disk(): Promise<void> {
    using _full = this.#disk.fill();
    await this.#post("/v1/services/api/deploys", { version: `v${this.#versions++}` });
    await delay(FULL_MS);
  }

  #post(path: string, body?: object): Promise<number> {
    return this.#ask("POST", path, body);
  }

  async #ask(method: string, path: string, body?: object): Promise<number> {
    const { status, json } = await this.#daemon.api(method, path, body);
    this.answers.push(`${path.split("/").at(-1) ?? ""} ${status}`);
    const isFull = status === 500 && JSON.stringify(json).includes("STATE_NOT_WRITTEN");
    if (status >= 500 && !isFull) throw new Error(`${path}: ${status} ${JSON.stringify(json)}`);
    return status;
  }

  async phases(): Promise<string[]> {
    const { json } = await this.#daemon.api("GET", "/v1/deploys?limit=100");
    return (json as { readonly deploys: readonly Deploy[] }).deploys.map(({ phase }) => phase);
  }

  /** What is wrong when everything has come to rest. */
  async calm(): Promise<string[]> {
    const daemon = this.#daemon;
    const rest = await daemon
      .until(
        "rest",
        ({ services: [service] }) =>
          service?.deploy === null && service.generations.length === 1 && isWhole(service) && service,
        180_000,
      )
      .catch(async (cause: unknown) => {
        throw new Error(`it does not come to rest: ${JSON.stringify(await daemon.service())}`, { cause });
      });
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
