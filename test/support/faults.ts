/**
 * One daemon that is ended with SIGKILL at named points (daemon/fault.ts), again and again, each time within the scenario that
 * passes the point, and started again. What has to be true afterwards is the same each time.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { FaultPoint } from "../../daemon/fault.ts";
import { type Config, type Daemon, startDaemon } from "./daemon.ts";
import { FdStore } from "./fdstore.ts";
import { lost, type Losses, startLoad } from "./load.ts";
import { oneService } from "./one-service.ts";
import { commandOf, fixture } from "./paths.ts";
import { addressOf } from "./ports.ts";
import { descriptorCount, eventually, withDeadline } from "./processes.ts";
import type { Deploy, Status } from "./status.ts";

/** What is done to the daemon while it may end. */
type Scenario =
  | "start"
  | "deploy"
  | "canary"
  | "recreate"
  | "hold"
  | "reload"
  | "scale"
  | "failure"
  | "abort"
  | "rollback"
  | "upgrade"
  | "recovery";

/** A daemon of a first start and one that goes on differ by a few descriptors that Node opens late. */
const OPENED_LATE = 3;

const SCENARIOS: readonly Scenario[] = [
  "deploy",
  "canary",
  "recreate",
  "hold",
  "reload",
  "scale",
  "failure",
  "abort",
  "rollback",
  "upgrade",
  "recovery",
];

export function scenarioOf(point: FaultPoint): Scenario {
  if (point.startsWith("upgrade.")) return "upgrade";
  if (point.startsWith("recovery.")) return "recovery";
  if (point.startsWith("keeper.put.slot.")) return "start";
  if (point.startsWith("deploy.analyse.")) return "canary";
  // It takes its slots first, with no instance.
  if (/^deploy\.(?:resize|fallBack)\./u.test(point)) return "recreate";
  if (point.startsWith("hold.")) return "hold";
  if (point.startsWith("reload.")) return "reload";
  if (point.startsWith("leave.")) return "scale";
  if (point.startsWith("deploy.record.failed.")) return "failure";
  if (point.startsWith("deploy.record.aborted.")) return "abort";
  if (point.startsWith("deploy.record.roll")) return "rollback";
  return "deploy";
}

/** Whoever asks while the daemon ends is cut off: that is what is tested. */
function ignoring(promise: Promise<unknown>): void {
  promise.catch(() => undefined);
}

export interface FaultReport {
  readonly point: FaultPoint;
  readonly losses: readonly Losses[];
  /** What is not as it should be; empty when all is well. */
  readonly wrong: readonly string[];
}

export class FaultStage implements AsyncDisposable {
  readonly daemon: Daemon;
  readonly #config: Config;
  readonly #file: string;
  readonly #store: FdStore | null;
  #versions = 0;
  /** How often the application began without what it had stored. */
  #anew = 0;
  /** Descriptors beyond those of slots: of the daemon and of the keeper. */
  #usual: readonly [number, number] | null = null;

  private constructor(daemon: Daemon, config: Config, file: string, store: FdStore | null) {
    this.daemon = daemon;
    this.#store = store;
    this.#config = config;
    this.#file = file;
  }

  /** `keeper`: who holds the sockets while no daemon runs: handoff-keeper, or a store as systemd's. */
  static async open(keeper: "process" | "fdstore" = "process"): Promise<FaultStage> {
    const file = `${mkdtempSync(`${tmpdir()}/faults-`)}/armed`;
    const verify = [
      { http: { path: "/healthz" } },
      { command: ["/bin/sh", "-c", "case $HANDOFF_VERSION in bad*) exit 1;; esac"] },
    ];
    const config = oneService({
      command: ["python3", fixture("stores-then-becomes.py"), ...commandOf("moves-connections.py")],
      environment: { STORED_ANEW: "{dir}/stored-anew" },
      fdstore: { max: 1 },
      verify,
      deploy: {
        bake: "200ms",
        analysis: { command: ["/bin/true"], every: "50ms", samples: 1 },
      },
      restart: { backoff: "50ms..100ms" },
    });
    const store = keeper === "fdstore" ? await FdStore.open() : null;
    const given = store?.forDaemon;
    try {
      const environment = { ...given?.environment, HANDOFFD_FAULT_POINTS: file };
      const daemon = await startDaemon({ config, ...given, environment });
      const stage = new FaultStage(daemon, config, file, store);
      // Before the first end: what that loses would be the measure of all the others.
      const wrong = await stage.#check();
      if (wrong.length > 0) throw new Error(wrong.join("\n"));
      return stage;
    } catch (error) {
      await store?.[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The points that were passed so far, by any image. */
  get passed(): ReadonlySet<string> {
    return new Set(readFileSync(`${this.#file}.reached`, "utf8").trim().split("\n"));
  }

  /** Every scenario once, and nobody ends. */
  async walk(): Promise<void> {
    for (const scenario of SCENARIOS) {
      await this.#play(scenario);
      await this.#settled();
    }
  }

  async survive(point: FaultPoint): Promise<FaultReport> {
    const scenario = scenarioOf(point);
    if (scenario === "start") return this.#surviveStart(point);
    const { target } = addressOf(await this.daemon.status(), "web");
    const common = { target, connections: 4, rate: 100, timeoutMs: 30_000, lateMs: 20_000, seconds: 300 };
    await using fresh = startLoad({ ...common, mode: "new" });
    await using kept = startLoad({ ...common, mode: "keepalive", thinkMs: [0, 20] });
    const loads = [fresh, kept];
    // Answers that are under way for longer than the daemon is away: whoever is told to end twice would cut them.
    await using streams = /^(?:drain|leave)\./u.test(point)
      ? startLoad({ ...common, mode: "stream", path: "/stream?ms=4000", connections: 2, rate: 2 })
      : null;
    if (streams !== null) loads.push(streams);
    await Promise.all(loads.map((load) => load.started));
    if (scenario !== "recovery") this.#arm(point);
    await this.#play(scenario, point);
    const wrong = await this.#goOn(point);
    const losses = (await Promise.all(loads.map((load) => load.stop()))).map((report) => lost(report));
    return { point, losses, wrong };
  }

  /** The daemon's first start: there is no client yet. */
  async #surviveStart(point: FaultPoint): Promise<FaultReport> {
    await this.daemon.stop();
    // What was stopped is held on in systemd's store; the first start of all has nothing.
    await this.#store?.clean();
    this.#arm(point);
    ignoring(this.daemon.start());
    // A stop has ended everything: it stores anew.
    this.#anew++;
    return { point, losses: [], wrong: await this.#goOn(point) };
  }

  /** It has ended, or is about to: it is started again, and everything has to be right. */
  async #goOn(point: FaultPoint): Promise<string[]> {
    const { signal } = await withDeadline(this.daemon.exit, 30_000, `the end at ${point}`);
    if (signal !== "SIGKILL" || existsSync(this.#file))
      return [`not ended at ${point} but by ${signal ?? "itself"}`];
    await this.daemon.restart("alive");
    if ((await this.daemon.service()).state === "held")
      await this.daemon.api("POST", "/v1/services/api/resume");
    if (scenarioOf(point) === "reload") await this.#withoutMore();
    await this.daemon.untilReady();
    const wrong = await this.#check();
    const deploy = await this.daemon.deploy(`v${this.#versions++}`);
    if (deploy.phase !== "succeeded")
      wrong.push(`the next deploy: ${deploy.phase}, ${deploy.reason?.message ?? ""}`);
    return [...wrong, ...(await this.#check())];
  }

  #arm(point: FaultPoint): void {
    writeFileSync(this.#file, `${point} 1\n`);
  }

  async #play(scenario: Scenario, point?: FaultPoint): Promise<void> {
    const { daemon } = this;
    switch (scenario) {
      case "start":
        return;
      case "deploy":
        return this.#begin(`v${this.#versions++}`);
      case "canary":
        return this.#begin(`v${this.#versions++}`, {
          strategy: "canary",
          steps: [{ weight: "50%", for: "300ms" }],
        });
      case "recreate":
        // What waits meets the release that was there, again.
        return this.#begin("bad", { strategy: "recreate" });
      case "hold":
        if (point === undefined) return this.#holdAndResume();
        ignoring(this.#holdAndResume());
        return;
      case "reload":
        if (point === undefined) return this.#addAndRemove();
        ignoring(this.#addAndRemove());
        return;
      case "scale":
        await this.#scale(2);
        if (point === undefined) return this.#scale(1);
        ignoring(this.#scale(1));
        return;
      case "failure":
        return this.#begin("bad");
      case "abort":
        await this.#begin(`v${this.#versions++}`, { bake: "60s" }, "baking");
        ignoring(daemon.api("POST", `/v1/deploys/${await this.#latest()}/abort`));
        return;
      case "rollback":
        await this.#begin(`v${this.#versions++}`, { bake: "60s" }, "baking");
        ignoring(daemon.api("POST", "/v1/services/api/rollback"));
        return;
      case "upgrade":
        // In the middle of a deploy, which the new image goes on with.
        await this.#begin(`v${this.#versions++}`, { bake: "1s" }, "baking");
        if (point === undefined) return daemon.upgrade();
        ignoring(daemon.api("POST", "/v1/upgrade"));
        return;
      case "recovery":
        await this.#begin(`v${this.#versions++}`, { bake: "1s" }, "baking");
        daemon.kill("SIGKILL");
        await daemon.exit;
        if (point === undefined) return daemon.restart();
        this.#arm(point);
        ignoring(daemon.start());
    }
  }

  async #begin(version: string, body: Readonly<Record<string, unknown>> = {}, until?: string): Promise<void> {
    const asked = this.daemon.api("POST", "/v1/services/api/deploys", { version, ...body });
    if (until === undefined) {
      ignoring(asked);
      return;
    }
    const { json } = await asked;
    await this.daemon.untilDeploy((json as Deploy).id, { until: [until] });
  }

  async #holdAndResume(): Promise<void> {
    await this.daemon.api("POST", "/v1/services/api/hold");
    await this.daemon.until("held connections", ({ services: [service] }) => service?.state === "held");
    await this.daemon.api("POST", "/v1/services/api/resume");
  }

  async #scale(instances: number): Promise<void> {
    await this.daemon.api("PUT", "/v1/services/api/scale", { instances });
    await this.daemon.until("so many instances", ({ services: [service] }) => {
      const all = service?.generations.flatMap((generation) => generation.instances);
      return all?.length === instances && all.every(({ state }) => state === "serving");
    });
  }

  /** A listener and a service that the file gets, and loses again. */
  async #addAndRemove(): Promise<void> {
    const { listeners, services } = this.#config as Readonly<Record<"listeners" | "services", Config>>;
    const { drain } = services["api"] as Config;
    this.daemon.configure({
      listeners: { ...listeners, more: { address: "tcp:127.0.0.1:0" } },
      services: {
        ...services,
        more: { command: commandOf("polite.mjs"), drain, listeners: ["more"], version: "v0" },
      },
    });
    await this.daemon.api("POST", "/v1/reload");
    await this.daemon.until(
      "the service that was added",
      ({ services: [, added] }) => added?.state === "running",
    );
    await this.#withoutMore();
  }

  /** As many times as it takes: a daemon that dies in it has removed some. */
  async #withoutMore(): Promise<void> {
    this.daemon.configure(this.#config);
    const { status, json } = await this.daemon.api("POST", "/v1/reload");
    if (status !== 200) throw new Error(`the reload: ${status} ${JSON.stringify(json)}`);
    await this.daemon.until(
      "the end of what was removed",
      (now) => now.services.length === 1 && now.listeners.length === 1,
    );
  }

  async #latest(): Promise<string> {
    const { json } = await this.daemon.api("GET", "/v1/deploys?limit=1");
    return (json as { readonly deploys: readonly Deploy[] }).deploys[0]?.id ?? "none";
  }

  async #settled(): Promise<Status> {
    const status = await this.daemon.until(
      "one generation and no deploy",
      (now) => {
        const [service] = now.services;
        return (
          service?.deploy === null && service.generations.length === 1 && service.current !== null && now
        );
      },
      60_000,
    );
    return status;
  }

  async #check(): Promise<string[]> {
    const wrong: string[] = [];
    const { listeners, services } = await this.#settled();
    const [service] = services;
    const [generation] = service?.generations ?? [];
    const [instance] = generation?.instances ?? [];
    if (generation?.state !== "serving" || generation.weight !== 1)
      wrong.push(`the generation is ${JSON.stringify(generation)}`);
    const slots = listeners[0]?.slots ?? [];
    const weighted = slots.filter(({ weight }) => weight > 0);
    const isRight =
      weighted.length === 1 &&
      weighted[0]?.weight === 1 &&
      weighted[0].generation === `api/${service?.current ?? 0}`;
    if (!isRight) wrong.push(`the weights are ${JSON.stringify(slots)}`);
    const anew = readFileSync(`${this.daemon.folder}/stored-anew`, "utf8").split("\n").length - 2;
    if (anew > this.#anew) wrong.push("what the application had stored was lost");
    this.#anew = Math.max(this.#anew, anew);
    const orphans = await this.#orphans([this.daemon.pid, instance?.pid ?? 0]);
    if (orphans.length > 0) wrong.push(`left: ${orphans.join(", ")}`);
    const held = await this.#held(slots.length);
    this.#usual ??= held;
    const [own, keepers] = this.#usual;
    // The keeper may have fewer: a channel is given to it last, and one that a death has closed stays closed.
    if (held[0] > own + OPENED_LATE || held[1] > keepers)
      wrong.push(`descriptors: ${held.join(", ")} and not ${this.#usual.join(", ")}`);
    return wrong;
  }

  /** Processes beside these and the keeper, after what may still be ending has ended. */
  async #orphans(known: readonly number[]): Promise<readonly string[]> {
    let found: readonly string[] = [];
    const find = (): readonly string[] =>
      this.daemon.processes().flatMap((pid) => {
        const name = programOf(pid);
        return known.includes(pid) ||
          pid === this.#store?.pid ||
          name === "" ||
          name.startsWith("handoff-keeper")
          ? []
          : [`pid ${pid} (${name})`];
      });
    // An acceptor may be started at any time, and answers as long as what it took asks: a stream or two beside a drain.
    const isOver = (): boolean => (found = find()).length === 0;
    await eventually("the end of the others", isOver, 15_000).catch(() => undefined);
    return found;
  }

  async #held(slots: number): Promise<readonly [number, number]> {
    const isKeeper = (pid: number): boolean => programOf(pid).startsWith("handoff-keeper");
    const keeper = this.#store?.pid ?? this.daemon.processes().find((pid) => isKeeper(pid)) ?? 0;
    const count = (): readonly [number, number] => [
      descriptorCount(this.daemon.pid) - slots,
      descriptorCount(keeper) - slots,
    ];
    const usual = this.#usual;
    const isUsual = ([own, keepers]: readonly [number, number]): boolean =>
      usual !== null && own <= usual[0] + OPENED_LATE && keepers <= usual[1];
    // A connection that a proof has made, or that somebody has made to the API, is closed soon, on a busy machine as well.
    if (usual !== null)
      await eventually("the usual descriptors", () => isUsual(count()), 3_000).catch(() => undefined);
    return count();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    await this.#store?.[Symbol.asyncDispose]();
    rmSync(this.#file.replace(/\/[^/]*$/u, ""), { recursive: true, force: true });
  }
}

function programOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}
