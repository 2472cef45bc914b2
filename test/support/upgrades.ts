/** Upgrades one after the other under load, for the short test and the long one. */
import { startDaemon } from "./daemon.ts";
import { lost, type Losses, startLoad } from "./load.ts";
import { oneService } from "./one-service.ts";
import { addressOf } from "./ports.ts";
import { Random } from "./random.ts";
import { TERMINAL, type Deploy } from "./status.ts";

export interface UpgradesOptions {
  readonly upgrades: number;
  /** A deploy is begun before each such upgrade, and not waited for. */
  readonly every: number;
  readonly seed: number;
  readonly progress?: (upgrades: number) => void;
}

export interface UpgradesReport {
  readonly upgrades: number;
  readonly deploys: number;
  readonly failedDeploys: number;
  readonly requests: number;
  /** Of new connections, then of kept ones. */
  readonly losses: readonly Losses[];
  readonly isSamePid: boolean;
  /** Of instances. */
  readonly restarts: number;
  readonly descriptors: { readonly first: number; readonly last: number };
  readonly rssKiB: { readonly first: number; readonly last: number };
  /** From the request until the new image answers. */
  readonly upgradeMs: { readonly median: number; readonly max: number };
}

export async function upgradeOften({
  upgrades,
  every,
  seed,
  progress,
}: UpgradesOptions): Promise<UpgradesReport> {
  const random = new Random(seed);
  await using daemon = await startDaemon({ config: oneService({ instances: 2, drain: { timeout: "60s" } }) });
  const { pid } = daemon;
  const { target } = addressOf(await daemon.status(), "web");
  const common = { target, connections: 4, rate: 100, timeoutMs: 30_000, lateMs: 15_000, seconds: 900 };
  await using fresh = startLoad({ ...common, mode: "new" });
  await using kept = startLoad({ ...common, mode: "keepalive", thinkMs: [0, 20] });
  await Promise.all([fresh.started, kept.started]);
  const ids: string[] = [];
  const took: number[] = [];
  const descriptors: number[] = [];
  const rssKiB: number[] = [];
  for (let done = 0; done < upgrades; done++) {
    if (done % every === every - 1) {
      // The moment within the deploy is another one each time.
      const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: `v${done}` });
      const { id } = json as Deploy;
      ids.push(id);
      const phase = random.pick(["starting", "verifying", "baking", "draining"] as const);
      await daemon.untilDeploy(id, { until: [phase] });
    }
    const began = performance.now();
    await daemon.upgrade();
    took.push(performance.now() - began);
    progress?.(done + 1);
    const isBusy = (await daemon.service()).deploy !== null;
    if (isBusy)
      await daemon.until("the deploy's end", ({ services }) => services[0]?.deploy === null, 60_000);
    await daemon.until("one generation", ({ services }) => services[0]?.generations.length === 1, 60_000);
    descriptors.push(daemon.descriptors);
    rssKiB.push(daemon.rssKiB);
  }
  const deploys = await Promise.all(ids.map((id) => daemon.untilDeploy(id)));
  const service = await daemon.service();
  const reports = await Promise.all([fresh.stop(), kept.stop()]);
  took.sort((a, b) => a - b);
  return {
    upgrades: (await daemon.status()).upgrades,
    deploys: deploys.length,
    failedDeploys: deploys.filter(({ phase }) => TERMINAL.includes(phase) && phase !== "succeeded").length,
    requests: reports.reduce((sum, { requests }) => sum + requests, 0),
    losses: reports.map((report) => lost(report)),
    isSamePid: (await daemon.status()).pid === pid,
    restarts: service.generations
      .flatMap(({ instances }) => instances)
      .reduce((sum, { restarts }) => sum + restarts, 0),
    descriptors: { first: descriptors[0] ?? 0, last: descriptors.at(-1) ?? 0 },
    rssKiB: { first: rssKiB[0] ?? 0, last: rssKiB.at(-1) ?? 0 },
    upgradeMs: {
      median: Math.round(took[Math.floor(took.length / 2)] ?? 0),
      max: Math.round(took.at(-1) ?? 0),
    },
  };
}
