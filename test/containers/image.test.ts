/** The Dockerfile's image as docs/install.md runs it: nothing of it can be written, and its processes may do nothing that a user may not. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";
import { lost, startLoad } from "../support/load.ts";
import { BASE, imageBuilt } from "../support/node-image.ts";
import { root } from "../support/paths.ts";
import type { Podman } from "../support/podman.ts";
import { childrenOf, eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";
import type { Status } from "../support/status.ts";

const BUILD_MS = 600_000;
const NAME = "handoffd";
const TARGET = "127.0.0.1:8080";

let podman: Podman;
beforeAll(async () => {
  podman = await imageBuilt();
  mkdirSync(`${podman.folder}/etc`);
  writeFileSync(
    `${podman.folder}/etc/handoffd.yaml`,
    stringify({
      listeners: { web: { address: `tcp:${TARGET}` } },
      services: {
        api: {
          command: ["node", "/srv/apps/polite.mjs"],
          version: "v1",
          listeners: ["web"],
          instances: 2,
          drain: { timeout: "20s" },
        },
      },
    }),
  );
}, BUILD_MS);
afterAll(async () => {
  await podman[Symbol.asyncDispose]();
});

/** Runs a program in the container, as its user. */
const inside = (...words: readonly string[]): Promise<string> => podman.run("exec", NAME, ...words);

const status = async (): Promise<Status> =>
  JSON.parse(await inside("handoffctl", "status", "--json")) as Status;

/** A line of /proc/PID/status. */
const fact = (pid: number, name: string): string =>
  new RegExp(`^${name}:\\s+(.*)$`, "mu").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";

/** Connections to the service, accepted or not, in the container's network. */
function established(pid: number): number {
  const port = (8080).toString(16).toUpperCase();
  const lines = readFileSync(`/proc/${pid}/net/tcp`, "utf8").split("\n");
  return lines.filter((line) => new RegExp(`^ *\\d+: \\w+:${port} \\w+:\\w+ 01 `, "u").test(line)).length;
}

async function started(): Promise<number> {
  await podman.run(
    "run",
    "--detach",
    `--name=${NAME}`,
    ...["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"],
    ...["--tmpfs=/run/handoffd", "--volume=handoffd:/var/lib/handoffd"],
    ...["--network=none", "--health-interval=disable"],
    `--volume=${podman.folder}/etc:/etc/handoffd:ro`,
    `--volume=${root}/test/fixtures/apps:/srv/apps:ro`,
    "localhost/handoffd",
  );
  await eventually("a service that runs", async () => {
    const { code, stdout } = await podman.tried(["exec", NAME, "handoffctl", "status", "--json"]);
    return code === 0 && (JSON.parse(stdout) as Status).services[0]?.state === "running";
  });
  return (await podman.pidOf(NAME)) ?? 0;
}

test("what is added to Node's image is small, and says how it is run", async () => {
  const format = "--format={{.Size}} {{.Config.User}} {{.Config.StopSignal}} {{.HealthCheck.Test}}";
  const [size = "", ...config] = (await podman.run("inspect", format, "localhost/handoffd")).split(" ");
  const base = await podman.run("inspect", "--format={{.Size}}", BASE);
  expect(config.join(" ")).toBe("65532:65532 SIGTERM [CMD handoffctl status]");
  expect((Number(size) - Number(base)) / 1e6).toBeLessThan(10);
});

test("read-only and without capabilities, it deploys and is upgraded under load, reaps orphans, and drains on SIGTERM", async () => {
  const first = await started();
  const paced = { target: TARGET, connections: 8, rate: 200, networkOf: first };
  await using fresh = startLoad({ ...paced, mode: "new" });
  await using kept = startLoad({ ...paced, mode: "keepalive", thinkMs: [0, 20] });
  await Promise.all([fresh.started, kept.started]);
  await inside("handoffctl", "deploy", "api", "v2", "--bake", "50ms");
  const before = await status();
  await inside("handoffctl", "upgrade");
  const { pid, upgrades, services } = await status();
  expect({ pid, upgrades }).toEqual({ pid: before.pid, upgrades: 1 });
  expect(services[0]?.generations.at(-1)?.instances).toEqual(
    before.services[0]?.generations.at(-1)?.instances,
  );
  await inside("handoffctl", "deploy", "api", "v3", "--bake", "50ms");
  await Promise.all([fresh.sawVersion("v3"), kept.sawVersion("v3")]);
  const reports = await Promise.all([fresh.stop(), kept.stop()]);
  expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING]);

  const { code } = await podman.tried(["healthcheck", "run", NAME]);
  expect(code).toBe(0);
  const orphan = await inside("sh", "-c", "sh -c 'sleep 0.01 >/dev/null & echo $!'");
  await eventually("that nothing is left of an orphan", async () => {
    return (await podman.tried(["exec", NAME, "test", "-e", `/proc/${orphan}`])).code === 1;
  });
  const everyone = [first, ...childrenOf(first).flatMap((child) => [child, ...childrenOf(child)])];
  expect(everyone.length).toBeGreaterThanOrEqual(4);
  for (const each of everyone) {
    const facts = ["Uid", "CapEff", "NoNewPrivs"].map((name) => fact(each, name));
    expect(facts).toEqual(["65532\t65532\t65532\t65532", "0000000000000000", "1"]);
  }

  // Those who have asked get their answer, and then it ends.
  await using asking = startLoad({
    ...paced,
    mode: "new",
    requests: 8,
    rate: 0,
    path: "/slow?ms=1500",
    lateMs: 20_000,
  });
  await eventually("eight that wait", () => established(first) === 8);
  await podman.run("stop", "--time=30", NAME);
  const report = await asking.done;
  expect({ ...lost(report), ok: report.ok }).toEqual({ ...NOTHING, ok: 8 });
  expect(await podman.run("inspect", "--format={{.State.ExitCode}}", NAME)).toBe("0");
  const said = await podman.run("logs", NAME);
  expect(said.match(/exited with status 0 as it was told to/gu)).toHaveLength(6);
});
