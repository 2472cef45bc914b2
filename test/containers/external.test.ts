/** Instances in containers: examples/containers as it is, with podman and two images that differ in what they answer. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { root } from "../support/paths.ts";
import { Podman } from "../support/podman.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import type { Said } from "../support/run.ts";
import { NOTHING } from "../support/stage.ts";

const EXAMPLE = `${root}/examples/containers`;
const LAUNCHER = `${root}/build/Release/handoff-exec`;
const NOBODY = 65534;
/** Root of a container that has users of its own, as the host knows it. */
const MAPPED = 100_000;

let podman: Podman;
beforeAll(async () => {
  podman = Podman.open();
  for (const image of ["blue", "green"]) await makeImage(image);
});
afterAll(async () => {
  await podman[Symbol.asyncDispose]();
});

/** localhost/app:VERSION, in which there is one program and nothing else. */
async function makeImage(version: string): Promise<void> {
  const folder = `${podman.folder}/${version}`;
  mkdirSync(folder);
  const source = `${root}/test/fixtures/containers/answers.c`;
  const flags = ["-static", "-O2", "-s", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];
  execFileSync("cc", [...flags, `-DIMAGE="${version}"`, source, "-o", `${folder}/app`]);
  writeFileSync(`${folder}/Containerfile`, "FROM scratch\nCOPY app /app\n");
  await podman.run("build", "--quiet", "--network=none", `--tag=localhost/app:${version}`, folder);
}

interface Example {
  readonly listeners: { readonly web: object };
  readonly services: { readonly app: Readonly<Record<string, unknown>> & { readonly external: object } };
}

/** The example's configuration, at this test's address and in its folder. */
function example(service: Config = {}, external: Config = {}): Config {
  const { services } = parse(readFileSync(`${EXAMPLE}/handoffd.yaml`, "utf8")) as Example;
  const { app } = services;
  const start = [`${podman.folder}/start-container`, "{version}", "{generation}-{instance}"];
  return {
    listeners: { web: { address: "tcp:127.0.0.1:0" } },
    services: {
      app: {
        ...app,
        version: "blue",
        external: { ...app.external, socket: "{dir}/run/app/handoff.sock", start, ...external },
        ...service,
      },
    },
  };
}

async function startExample(config: Config, awaits: "ready" | "alive" = "ready"): Promise<Daemon> {
  // What it asks for when it starts is written once its folder is known.
  const daemon = await startDaemon({
    config: { listeners: {}, services: {} },
    environment: { PATH: podman.path },
    awaits: "alive",
  });
  mkdirSync(`${daemon.folder}/run/app`, { mode: 0o755 });
  const script = readFileSync(`${EXAMPLE}/start-container`, "utf8")
    .replaceAll("/run/handoffd/app", `${daemon.folder}/run/app`)
    .replaceAll("/usr/lib/handoffd/build/Release/handoff-exec", LAUNCHER)
    .replaceAll("node /app/server.js", "/app");
  writeFileSync(`${podman.folder}/start-container`, script);
  chmodSync(`${podman.folder}/start-container`, 0o755);
  daemon.configure(config);
  const { code, stderr } = await daemon.cli("reload");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  await daemon.untilReady(20_000, awaits);
  return daemon;
}

async function pidsOf(daemon: Daemon): Promise<number[]> {
  const { generations, current } = await daemon.service("app");
  return generations.find(({ number }) => number === current)?.instances.map(({ pid }) => pid) ?? [];
}

/** The network interfaces that a process sees. */
function interfacesOf(pid: number): string[] {
  const lines = readFileSync(`/proc/${pid}/net/dev`, "utf8").trim().split("\n").slice(2);
  return lines.map((line) => line.split(":")[0]?.trim() ?? "");
}

test("deploys between two images, a rollback and the daemon's death lose no request of a container without network", async () => {
  await using daemon = await startExample(example({ ready: { by: "notify", timeout: "20s" } }));
  const { target } = addressOf(await daemon.status(), "web");
  await using fresh = startLoad({ target, mode: "new", connections: 8, rate: 200 });
  await using kept = startLoad({ target, mode: "keepalive", connections: 8, thinkMs: [0, 20], rate: 200 });
  await Promise.all([fresh.started, kept.started]);
  const deploy = (version: string, bake: string, until: string[] = []) =>
    daemon.deploy(version, { service: "app", body: { bake }, until });

  expect(await deploy("green", "50ms")).toMatchObject({ phase: "succeeded" });
  await Promise.all([fresh.sawVersion("green"), kept.sawVersion("green")]);
  const { id } = await deploy("blue", "100s", ["baking"]);
  const before = (await daemon.service("app")).previous;
  expect((await daemon.cli("rollback", "app")).code).toBe(0);
  expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "rolled-back" });
  expect(await daemon.service("app")).toMatchObject({ current: before, state: "running" });

  const instances = await pidsOf(daemon);
  daemon.kill("SIGKILL");
  await daemon.restart();
  expect(await pidsOf(daemon)).toEqual(instances);
  expect(await deploy("blue", "50ms")).toMatchObject({ phase: "succeeded" });

  // What the kernel says of who came is what podman says of its containers; of the others none is left.
  await eventually("the containers of one generation", async () => (await podman.names()).length === 2);
  const pids = await pidsOf(daemon);
  expect(await Promise.all(["4-1", "4-2"].map((place) => podman.pidOf(`app-${place}`)))).toEqual(pids);
  for (const pid of pids) {
    expect(interfacesOf(pid)).toEqual(["lo"]);
    expect(readlinkSync(`/proc/${pid}/ns/net`)).not.toBe(readlinkSync("/proc/self/ns/net"));
    // Standard input and outputs, the listener, the channel.
    expect(readdirSync(`/proc/${pid}/fd`).filter((fd) => Number(fd) < 5)).toEqual(["0", "1", "2", "3", "4"]);
  }
  const reports = await Promise.all([fresh.stop(), kept.stop()]);
  expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING]);
  expect(reports.map(({ versions }) => Object.keys(versions).sort())).toEqual([
    ["blue", "green"],
    ["blue", "green"],
  ]);
  expect(daemon.log().filter(({ msg }) => msg === "generation.killed")).toEqual([]);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  await eventually("no container", async () => (await podman.names()).length === 0);
});

test("a container of another user, of mapped users, without the socket or for another place gets nothing", async () => {
  // Of two users the file's mode cannot tell: anyone may knock.
  const external = { allow: { uid: 1, user: "root" }, start: undefined };
  const service = { instances: 1, ready: { by: "listening", timeout: "50s" } };
  await using daemon = await startExample(example(service, external), "alive");
  const said = (type: string) => daemon.log().filter(({ msg }) => msg === type);
  await eventually("that one is awaited", () => said("instance.awaited").length === 1);
  const before = daemon.descriptors;
  const folder = `${daemon.folder}/run/app`;
  const mount = [`--volume=${folder}:${folder}`];
  const come = (options: readonly string[], place: string): Promise<Said> =>
    podman.tried([
      ...[
        "run",
        "--rm",
        "--network=none",
        "--pull=never",
        `--volume=${LAUNCHER}:/handoff-exec:ro`,
        ...options,
      ],
      ...["localhost/app:blue", "/handoff-exec", "--socket", `${folder}/handoff.sock`, "--place", place],
      ...["--", "/app"],
    ]);

  const other = await come([...mount, `--user=${NOBODY}:${NOBODY}`], "1-1");
  expect(other).toMatchObject({
    code: 127,
    stderr: expect.stringContaining("it does not allow this user") as string,
  });
  // Root in there, and somebody else by the kernel's word, which is what counts.
  const mapped = await come([...mount, `--uidmap=0:${MAPPED}:65536`, `--gidmap=0:${MAPPED}:65536`], "1-1");
  expect(mapped).toMatchObject({
    code: 127,
    stderr: expect.stringContaining("it does not allow this user") as string,
  });
  const blind = await come([], "1-1");
  expect(blind).toMatchObject({ code: 127, stderr: expect.stringContaining("No such file") as string });
  const misplaced = await come(mount, "1-2");
  expect(misplaced).toMatchObject({
    code: 127,
    stderr: expect.stringContaining("does not await instance 1-2") as string,
  });
  expect(said("external.refused").map(({ detail }) => detail)).toEqual([
    expect.stringMatching(
      new RegExp(`^pid \\d+ \\(uid ${NOBODY}, gid ${NOBODY}\\) connected .* it got nothing$`, "u"),
    ),
  ]);
  expect(daemon.descriptors).toBeLessThanOrEqual(before);
  expect(await daemon.service("app")).toMatchObject({ current: null });

  // The one that is meant, at the same socket.
  const own = come([...mount, "--name=app-1-1"], "1-1");
  await daemon.untilReady();
  expect(await pidsOf(daemon)).toEqual([await podman.pidOf("app-1-1")]);
  const { target } = addressOf(await daemon.status(), "web");
  await using load = startLoad({ target, mode: "new", connections: 4, requests: 200 });
  expect(lost(await load.done)).toEqual(NOTHING);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect((await own).code).toBe(0);
});
