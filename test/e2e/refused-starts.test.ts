/** Starts that would be a guess or do harm: they are refused in words, leave nothing behind and take nothing away. */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native } from "../../handoff/native.ts";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask } from "../support/net.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { alive, eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";

interface Changes {
  readonly address?: string;
  readonly service?: string;
}

function configuration({ address = "tcp:127.0.0.1:0", service = "api" }: Changes = {}): Config {
  return {
    listeners: { web: { address } },
    services: {
      [service]: {
        command: commandOf("polite.mjs"),
        version: "v0",
        listeners: ["web"],
        deploy: { bake: "50ms" },
        drain: { timeout: "5s" },
      },
    },
  };
}

function temporaryFolder(): string {
  const folder = mkdtempSync(`${tmpdir()}/refused-`);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function listening(server: Server, where: string | number): Promise<Server> {
  onTestFinished(() => void server.close());
  server.listen(where);
  await once(server, "listening");
  return server;
}

/** The daemon's next start ends by itself, and says this code and this sentence. */
async function refuses(daemon: Daemon, code: string, sentence: RegExp): Promise<void> {
  await expect(daemon.restart()).rejects.toThrow(/the daemon ended with [12]\n/);
  const refusal = daemon.log().findLast(({ msg }) => msg === "the daemon cannot run");
  expect(refusal).toMatchObject({ code, detail: expect.stringMatching(sentence) as string });
  expect(daemon.tail()).toContain(`handoffd: ${String(refusal?.["detail"])}`);
}

test("without the directory of its admin socket the daemon does not start, and no process of it is left", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  const { where } = addressOf(await daemon.status(), "web");
  await daemon.stop();
  daemon.configure({ ...configuration(), admin: { socket: { path: "{dir}/none/admin.sock" } } });
  await refuses(daemon, "DIRECTORY_UNUSABLE", /none\/admin\.sock: .* its directory does not exist/);
  await eventually("the end of every process", () => daemon.processes().length === 0);
  await expect(ask(where)).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

test.each(["missing", "stale", "full"])(
  "a NOTIFY_SOCKET that is %s does not keep the daemon from serving",
  async (kind) => {
    const path = `${temporaryFolder()}/notify`;
    using manager = new Descriptor(native.socket("unix", "dgram", true));
    if (kind !== "missing") native.bind(manager.fd, { family: "unix", path });
    if (kind === "stale") manager.close();
    if (kind === "full") fill(path);
    await using daemon = await startDaemon({ config: configuration(), environment: { NOTIFY_SOCKET: path } });
    expect(await ask(addressOf(await daemon.status(), "web").where)).toMatchObject({ status: 200 });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  },
);

/** Sends until the queue of the datagram socket has no room. */
function fill(path: string): void {
  using client = new Descriptor(native.socket("unix", "dgram", true));
  native.connect(client.fd, { family: "unix", path });
  while (native.sendMessage(client.fd, new TextEncoder().encode("X=1"), [])) continue;
}

test("an admin socket on which another process listens is left to it, and the daemon does not start", async () => {
  const path = `${temporaryFolder()}/admin.sock`;
  await listening(
    createServer((socket) => socket.on("error", () => undefined).end("mine")),
    path,
  );
  const { ino } = statSync(path);
  await using daemon = await startDaemon({ config: configuration() });
  await daemon.stop();
  daemon.configure({ ...configuration(), admin: { socket: { path } } });
  await refuses(daemon, "ADMIN_SOCKET_IN_USE", /another process listens on the admin socket .*admin\.sock;/);
  expect(statSync(path).ino).toBe(ino);
  const client = connect(path).setEncoding("utf8");
  expect(await once(client, "data")).toEqual(["mine"]);
  expect(daemon.processes()).toEqual([]);
});

interface Refusal {
  readonly code: string;
  readonly sentence: RegExp;
  /** The configuration that is refused. */
  readonly changed: Config;
}

/** The daemon is killed under load and refuses to go on with another configuration; with the old one it does, and nobody notices. */
async function goesOnAfter(daemon: Daemon, refusal: Refusal): Promise<void> {
  await daemon.deploy("v1");
  const { target } = addressOf(await daemon.status(), "web");
  const pids = async () =>
    (await daemon.service()).generations.map(({ instances }) => instances[0]?.pid ?? 0);
  const before = await pids();
  await using load = startLoad({ target, mode: "new", connections: 4, rate: 200 });
  await using kept = startLoad({ target, mode: "keepalive", connections: 4, thinkMs: [0, 20], rate: 100 });
  await Promise.all([load.started, kept.started]);
  daemon.kill("SIGKILL");
  await daemon.exit;
  daemon.configure(refusal.changed);
  await refuses(daemon, refusal.code, refusal.sentence);
  expect(before.every(alive)).toBe(true);
  daemon.configure(configuration());
  await daemon.restart();
  expect(await pids()).toEqual(before);
  expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded", reason: null });
  await load.sawVersion("v2");
  const reports = await Promise.all([load.stop(), kept.stop()]);
  expect(reports.map((report) => lost(report))).toEqual([NOTHING, NOTHING]);
}

test("a service that was renamed while no daemon ran is not guessed at, and under its old name all goes on", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  await goesOnAfter(daemon, {
    code: "LISTENER_NOT_REMEMBERED",
    sentence:
      /^service api serves listener web, and the configuration has no such service and gives its listener to renamed/,
    changed: configuration({ service: "renamed" }),
  });
});

test("a listener whose port was changed while no daemon ran is not moved, and with its old port all goes on", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  const { port: held } = addressOf(await daemon.status(), "web");
  const other = (await listening(createServer(), 0)).address() as AddressInfo;
  await goesOnAfter(daemon, {
    code: "LISTENER_ADDRESS_CHANGED",
    sentence: new RegExp(
      `listener web was changed from \\S*:${held} to \\S*:${other.port} while no daemon ran`,
    ),
    changed: configuration({ address: `tcp:127.0.0.1:${other.port}` }),
  });
});

test("a state file that is empty, garbage or of another format is named, and nothing is started on a guess", async () => {
  await using daemon = await startDaemon({ config: configuration() });
  await daemon.deploy("v1");
  await daemon.stop();
  const file = `${daemon.folder}/state/services/api.json`;
  const good = readFileSync(file, "utf8");
  for (const [content, why] of [
    ["", "it is not JSON"],
    ["\0\0\0\0", "it is not JSON"],
    ['{"format":99}', "its format is 99"],
  ] as const) {
    writeFileSync(file, content);
    await refuses(
      daemon,
      "SNAPSHOT_UNREADABLE",
      new RegExp(`^cannot read the state in ${file}: ${why}.*move the file`),
    );
    await eventually("the end of every process", () => daemon.processes().length === 0);
    expect(readFileSync(file, "utf8")).toBe(content);
  }
  writeFileSync(file, good);
  await daemon.restart();
  expect(await ask(addressOf(await daemon.status(), "web").where)).toMatchObject({
    status: 200,
    version: "v1",
  });
});
