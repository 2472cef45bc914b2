/** At which priority a candidate starts, and that it has its own back before anybody meets it. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { getPriority, tmpdir } from "node:os";
import { expect, test } from "vitest";
import { startDaemon, type Config, type Daemon } from "../support/daemon.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";
import { eventually } from "../support/processes.ts";

const CHOSEN = 17;
const OWN = getPriority();

const configuration = (service: Config = {}): Config =>
  oneService({
    command: commandOf("starts-with-others.py"),
    environment: { GATE: "{dir}/go", FAMILY: "{dir}/family" },
    ready: { by: "notify" },
    ...service,
  });

/** The nice values of a generation's threads and processes, each once, and the value of its session where that has any. */
async function nicesOf(daemon: Daemon, generation: number) {
  const file = `${daemon.folder}/family.${generation}`;
  await eventually("the generation's threads and children", () => existsSync(file));
  const family = JSON.parse(readFileSync(file, "utf8")) as Readonly<Record<"own" | "chosen", number[]>>;
  const valuesOf = (numbers: readonly number[]) => [...new Set(numbers.map((each) => getPriority(each)))];
  const session = sessionOf(`${family.own[0] ?? 0}`);
  return {
    own: valuesOf(family.own),
    chosen: valuesOf(family.chosen),
    session: /nice (-?\d+)/u.exec(session)?.[1] ?? null,
  };
}

/** Not there in a kernel without CONFIG_SCHED_AUTOGROUP; empty of a process in whose line none has begun a session since the host's start. */
function sessionOf(pid: string, program = "env"): string {
  return spawnSync(program, ["cat", `/proc/${pid}/autogroup`], { encoding: "utf8" }).stdout;
}

const hasSessions = /nice/u.test(sessionOf("self", "setsid"));
const configured = (nice = OWN) => ({ own: [nice], chosen: [CHOSEN], session: hasSessions ? "0" : null });
const low = (nice = OWN) => ({ own: [nice + 10], chosen: [CHOSEN], session: hasSessions ? "10" : null });

async function startedWith(service?: Config, options: object = {}) {
  const daemon = await startDaemon({ config: configuration(service), awaits: "alive", ...options });
  const first = await nicesOf(daemon, 1);
  writeFileSync(`${daemon.folder}/go`, "");
  await daemon.untilReady();
  rmSync(`${daemon.folder}/go`);
  return { daemon, first };
}

/** The second generation, which waits. */
async function deploying(daemon: Daemon): Promise<() => Promise<unknown>> {
  const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1", bake: "60s" });
  const { id } = json as { readonly id: string };
  await nicesOf(daemon, 2);
  return async () => {
    writeFileSync(`${daemon.folder}/go`, "");
    const { phase } = await daemon.untilDeploy(id, { until: ["baking"] });
    return phase;
  };
}

test("a candidate starts at a low priority, and serves with the configured one, all its threads and children", async () => {
  const { daemon, first } = await startedWith({ nice: 3 });
  await using _ = daemon;
  // Beside nobody.
  expect(first).toEqual(configured(3));
  const serve = await deploying(daemon);
  expect(await nicesOf(daemon, 2)).toEqual(low(3));
  expect(await serve()).toBe("baking");
  expect(await nicesOf(daemon, 2)).toEqual(configured(3));
});

test("a candidate that becomes ready under the next daemon gets from that what the last one, killed, has taken", async () => {
  const { daemon } = await startedWith();
  await using _ = daemon;
  const serve = await deploying(daemon);
  daemon.kill("SIGKILL");
  await daemon.exit;
  expect(await nicesOf(daemon, 2)).toEqual(low());
  await daemon.restart("alive");
  expect(await serve()).toBe("baking");
  expect(await nicesOf(daemon, 2)).toEqual(configured());
});

test("a candidate that takes half of ready.timeout has the configured priority for the rest of it", async () => {
  const { daemon } = await startedWith({ ready: { by: "notify", timeout: "20s" } });
  await using _ = daemon;
  const serve = await deploying(daemon);
  await eventually(
    "the configured priority",
    async () => (await nicesOf(daemon, 2)).own.every((nice) => nice === OWN),
    19_000,
  );
  expect(await nicesOf(daemon, 2)).toEqual(configured());
  expect(await serve()).toBe("baking");
});

test("a candidate that is told to end before it was ready ends with the configured priority", async () => {
  const { daemon } = await startedWith({ drain: { timeout: "5s" } });
  await using _ = daemon;
  await deploying(daemon);
  expect(await nicesOf(daemon, 2)).toEqual(low());
  await daemon.api("POST", "/v1/deploys/api-2/abort");
  await eventually("the configured priority", async () =>
    (await nicesOf(daemon, 2)).own.every((nice) => nice === OWN),
  );
});

test("a daemon that could not give the priority back takes none", async () => {
  const folder = mkdtempSync(`${tmpdir()}/hd-`);
  const node = `${folder}/node`;
  writeFileSync(node, `#!/bin/sh\nexec setpriv --bounding-set=-sys_nice '${process.execPath}' "$@"\n`);
  chmodSync(node, 0o755);
  const { daemon } = await startedWith({ command: commandOf("starts-with-others.py") }, { node });
  await using _ = daemon;
  const serve = await deploying(daemon);
  expect(await nicesOf(daemon, 2)).toEqual(configured());
  expect(await serve()).toBe("baking");
  rmSync(folder, { recursive: true });
});
