/** Every alert of packaging/prometheus fires in a real Prometheus that scrapes a real daemon, for a real cause. */
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { SilentClients } from "../support/net.ts";
import { root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually, killOne } from "../support/processes.ts";
import { type Alert, hasPrometheus, openBridge, startPrometheus } from "../support/prometheus.ts";
import { install } from "../support/stage.ts";

const folder = `${root}/packaging/prometheus`;
const read = (name: string): string => readFileSync(`${folder}/${name}`, "utf8");

/** Every alert, without the time for which something must last: half a minute is long here. */
const IMPATIENT = read("handoffd.alerts.yml")
  .replaceAll(/for: \w+$/gmu, "for: 0s")
  .replaceAll(/> (900|3600)$/gmu, "> 1");

const ALERTS = (parse(IMPATIENT) as { groups: { rules: { alert: string }[] }[] }).groups
  .flatMap(({ rules }) => rules)
  .map(({ alert }) => alert);

const QUEUE = 8;

function service(name: string, rest: Config = {}): Config {
  return {
    command: ["./run"],
    version: "good",
    listeners: [name],
    ready: { by: "listening", timeout: "5s" },
    deploy: { bake: "50ms" },
    drain: { settle: "100ms", timeout: "60s" },
    restart: { backoff: "20ms..20ms" },
    ...rest,
  };
}

/** A service for each vice: none of them is in another one's way. */
const SERVICES: Readonly<Record<string, Config>> = {
  fails: service("fails", { verify: [{ http: { path: "/healthz" }, timeout: "1s" }] }),
  rolls: service("rolls", { deploy: { bake: "60s", watch: { exits: 1 } } }),
  drains: service("drains", { version: "stubborn" }),
  cuts: service("cuts", { version: "stubborn", drain: { settle: "100ms", timeout: "200ms" } }),
  queues: service("queues"),
  flaps: service("flaps"),
  bakes: service("bakes", { deploy: { bake: "1h" } }),
  degrades: service("degrades", { version: "breaks" }),
  leaves: service("leaves", { version: "leaves" }),
  holds: service("holds"),
};

function releases(): string {
  const all = mkdtempSync(`${tmpdir()}/releases-`);
  onTestFinished(() => rmSync(all, { recursive: true, force: true }));
  const versions: Record<string, Parameters<typeof install>[2]> = {
    good: { program: "unmodified.mjs" },
    unhealthy: { program: "health-500.mjs" },
    dying: { program: "ready-then-dies.py", environment: { DIE_WHEN: `${all}/die` } },
    stubborn: { program: "ignores-sigterm.mjs" },
    breaks: { program: "unmodified.mjs" },
    leaves: { program: "leaves-children.py", environment: { CHILD_PID_FILE: `${all}/child` } },
    broken: { program: "exits-at-once.mjs" },
  };
  for (const [version, release] of Object.entries(versions)) install(all, version, release);
  return all;
}

function configuration(services: Readonly<Record<string, Config>>, directory: string): Config {
  return {
    listeners: Object.fromEntries(
      Object.keys(services).map((name) => [name, { address: "tcp:127.0.0.1:0", backlog: QUEUE }]),
    ),
    services: Object.fromEntries(
      Object.entries(services).map(([name, rest]) => [
        name,
        { ...rest, directory: `${directory}/{version}` },
      ]),
    ),
  };
}

async function instanceOf(daemon: Daemon, name: string): Promise<number> {
  const { current, generations } = await daemon.service(name);
  const serving = generations.find(({ number }) => number === current)?.instances[0];
  if (serving?.state !== "serving") throw new Error(`nobody serves ${name}`);
  return serving.pid;
}

async function endInstance(daemon: Daemon, name: string): Promise<void> {
  const pid = await instanceOf(daemon, name);
  killOne(pid);
  await daemon.until(`another instance of ${name}`, ({ services }) =>
    services
      .find((each) => each.name === name)
      ?.generations.some(({ instances: [one] }) => one?.state === "serving" && one.pid !== pid),
  );
}

test.skipIf(!hasPrometheus)(
  "every alert fires for a real cause, and none without",
  { timeout: 120_000 },
  async () => {
    const all = releases();
    await using daemon = await startDaemon({ config: configuration(SERVICES, all) });
    // Its only service was never started well: it is never ready.
    const broken = { broken: service("broken", { version: "broken" }) };
    await using hopeless = await startDaemon({ config: configuration(broken, all), awaits: "alive" });
    await using bridge = await openBridge(daemon.socket);
    await using other = await openBridge(hopeless.socket);
    await using prometheus = await startPrometheus({
      config: {
        global: { scrape_interval: "1s", evaluation_interval: "1s" },
        scrape_configs: [
          { job_name: "handoffd", static_configs: [{ targets: [bridge.address, other.address] }] },
        ],
      },
      rules: [read("handoffd.rules.yml"), IMPATIENT],
    });
    const seen = new Map<string, Alert>();
    const fires = async (name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> => {
      const alert = await prometheus.untilFiring(name, { job: "handoffd", ...labels }, 30_000);
      for (const text of Object.values(alert.annotations))
        expect(text, name).not.toMatch(/\{\{|<no value>|error/u);
      seen.set(name, alert);
    };

    // Each is scraped twice before anything happens to it.
    await prometheus.until(`count_over_time(up{instance="${bridge.address}"}[1m]) >= 2`);
    await fires("HandoffdServiceStopped", { instance: other.address, service: "broken" });
    expect((await prometheus.alerts()).filter(({ labels }) => labels["instance"] === bridge.address)).toEqual(
      [],
    );

    const addresses = await daemon.status();
    using _idle = await SilentClients.open(2, addressOf(addresses, "cuts").where);
    const id = await provoke(daemon, all);
    process.kill(await instanceOf(daemon, "queues"), "SIGSTOP");
    using _waiting = await SilentClients.open(QUEUE, addressOf(addresses, "queues").where);
    await fires("HandoffdDeployFailed", { service: "fails" });
    await fires("HandoffdDeployRolledBack", { service: "rolls", cause: "automatic" });
    await fires("HandoffdDrainStuck", { service: "drains" });
    await fires("HandoffdConnectionsCut", { service: "cuts" });
    await fires("HandoffdQueueNearLimit", { listener: "queues" });
    await fires("HandoffdInstanceFlapping", { service: "flaps" });
    await fires("HandoffdBakingLong", { service: "bakes" });
    await fires("HandoffdServiceDegraded", { service: "degrades" });
    await fires("HandoffdSlotHeld", { listener: "leaves" });
    expect((await daemon.api("POST", "/v1/services/holds/hold")).status).toBe(200);
    await fires("HandoffdServiceHeld", { service: "holds" });

    const history = `${daemon.folder}/state/history.jsonl`;
    renameSync(history, `${history}.away`);
    mkdirSync(history);
    expect((await daemon.api("POST", `/v1/deploys/${id}/pause`)).status).toBe(200); // Whose it was is not written down.
    await fires("HandoffdDeployPaused", { service: "bakes" });
    await fires("HandoffdHistoryNotWritten", { instance: bridge.address });
    rmdirSync(history);
    renameSync(`${history}.away`, history);
    expect((await daemon.cli("resume", "holds")).code).toBe(0); // A daemon with a service that is held is not ready.

    renameSync(`${daemon.folder}/state/services`, `${daemon.folder}/state/away`);
    writeFileSync(`${daemon.folder}/state/services`, "");
    await daemon.api("POST", `/v1/deploys/${id}/continue`); // It cannot be done: nothing can be written down.
    await fires("HandoffdStateNotWritten", { service: "bakes" });
    rmSync(`${daemon.folder}/state/services`);
    renameSync(`${daemon.folder}/state/away`, `${daemon.folder}/state/services`);

    daemon.kill("SIGKILL");
    await fires("HandoffdDown", { instance: bridge.address });
    await daemon.exit;
    writeFileSync(`${all}/breaks/run`, readFileSync(`${all}/good/run`)); // It is ready again when all serve.
    await daemon.restart();
    await fires("HandoffdRecovered", { instance: bridge.address });

    expect([...seen.keys()].sort()).toEqual([...ALERTS].sort());
  },
);

/** Lets everything happen that needs no more than a service of its own. Returns the id of a deploy that bakes. */
async function provoke(daemon: Daemon, all: string): Promise<string> {
  expect((await daemon.deploy("unhealthy", { service: "fails" })).phase).toBe("failed");
  await daemon.deploy("dying", { service: "rolls", until: ["baking"] });
  writeFileSync(`${all}/die`, "");
  await daemon.deploy("good", { service: "drains", until: ["draining"] });
  expect((await daemon.deploy("good", { service: "cuts" })).phase).toBe("succeeded");
  const { id, phase } = await daemon.deploy("good", { service: "bakes", until: ["baking"] });
  expect(phase).toBe("baking");
  for (let times = 0; times < 4; times++) await endInstance(daemon, "flaps");
  writeFileSync(`${all}/breaks/run`, "#!/bin/sh\nexit 3\n");
  killOne(await instanceOf(daemon, "degrades"));
  await daemon.deploy("good", { service: "leaves" });
  await eventually("a rollback", async () => (await daemon.service("rolls")).current === 1);
  return id;
}
