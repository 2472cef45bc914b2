/** handoff-exec as someone else starts it: it connects, says JOIN, and becomes its command with what it was given. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Channel } from "../../handoff/channel.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { grant } from "../../handoff/grant.ts";
import { HandoffSocket } from "../../handoff/handoff-socket.ts";
import { encodeSpecification, type LaunchSpecification, welcome } from "../../handoff/launch.ts";
import { failFrame, type Message } from "../../handoff/messages.ts";
import { companion, native } from "../../handoff/native.ts";
import { peerProcess } from "../../handoff/peer.ts";
import { startTimeOf, type Process } from "../../handoff/process.ts";
import { environment, start, type Exit } from "../support/processes.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();

const DEADLINE_MS = 10_000;
const OWN = { uid: null, gid: null };

let folder = "";
let socket: HandoffSocket;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/join-`);
  socket = HandoffSocket.open(`${folder}/api.sock`, OWN);
});
afterEach(() => {
  socket.close();
  rmSync(folder, { recursive: true });
});

interface Started {
  readonly pid: number;
  readonly end: Promise<Exit & { readonly stdout: string; readonly stderr: string }>;
}

function launcher(args: readonly string[], variables: Record<string, string> = {}): Started {
  const { pid, child, exit } = start(companion("handoff-exec"), args, {
    env: environment(variables),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = Promise.all([exit, text(child.stdout as Readable), text(child.stderr as Readable)]);
  return { pid, end: said.then(([how, stdout, stderr]) => ({ ...how, stdout, stderr })) };
}

interface Joining {
  readonly channel: Channel;
  readonly process: Process;
  readonly message: Message;
}

async function joining(): Promise<Joining> {
  const connection = await new Promise<Descriptor>((resolve) => socket.accept(resolve));
  socket.pause();
  const process = peerProcess(connection.fd, native.peerCredentials(connection.fd));
  if (process === null) throw new Error("the launcher has ended");
  const channel = new Channel(connection);
  const { message } = await channel.receive("JOIN", DEADLINE_MS);
  return { channel, process, message };
}

function specification(more: Partial<LaunchSpecification> = {}): LaunchSpecification {
  return {
    command: [],
    environment: {},
    directory: null,
    identity: null,
    umask: null,
    limits: [],
    nice: null,
    noNewPrivileges: false,
    keepChannel: false,
    deathSignal: null,
    ...more,
  };
}

describe("a launcher that is welcome", () => {
  it("is known by the kernel's word and says which place it is for", async () => {
    const started = launcher(["--socket", socket.path, "--place", "7-2", "--", "true"]);
    const { channel, process, message } = await joining();
    expect(message).toEqual({ type: "join", generation: 7, instance: 2 });
    expect({ pid: process.pid, startTime: process.startTime, isForeign: process.isForeign }).toEqual({
      pid: started.pid,
      startTime: startTimeOf(started.pid),
      isForeign: true,
    });
    await welcome({ channel, process }, specification(), [], DEADLINE_MS, () => undefined);
    expect(await process.exit()).toBeDefined();
    expect((await started.end).code).toBe(0);
    channel.close();
    process.release();
  });

  it("becomes its own command, with its own environment, what it is told, and nothing of its service manager's", async () => {
    using file = new Descriptor(native.memfd("web"));
    const script =
      'readlink /proc/$$/fd/3; echo "$LISTEN_FDS $LISTEN_FDNAMES $NOTIFY_SOCKET $OWN $BOTH [$WATCHDOG_USEC]"; pwd; test $LISTEN_PID = $$';
    const started = launcher(["--socket", socket.path, "--", "/bin/sh", "-c", script], {
      OWN: "own",
      BOTH: "theirs",
      NOTIFY_SOCKET: "/run/systemd/notify",
      WATCHDOG_USEC: "1000000",
      LISTEN_FDS: "7",
    });
    const { channel, process, message } = await joining();
    expect(message).toEqual({ type: "join", generation: null, instance: null });
    const told = { NOTIFY_SOCKET: "/ours", BOTH: "ours" };
    await welcome(
      { channel, process },
      specification({ environment: told, directory: "/tmp" }),
      [{ name: "web", fd: file.fd }],
      DEADLINE_MS,
      () => undefined,
    );
    expect(await started.end).toEqual({
      code: 0,
      signal: null,
      stdout: "/memfd:web (deleted)\n1 web /ours own ours []\n/tmp\n",
      stderr: "",
    });
    channel.close();
    process.release();
  });

  it("runs no command but its own", async () => {
    const started = launcher(["--socket", socket.path, "--", "true"]);
    const { channel, process } = await joining();
    using memory = new Descriptor(native.memfd("specification"));
    writeSync(memory.fd, encodeSpecification(specification({ command: ["/bin/echo", "theirs"] })));
    await expect(grant(channel, memory.fd, [], DEADLINE_MS)).rejects.toThrow("a command");
    expect(await started.end).toMatchObject({ code: 127, stdout: "" });
    channel.close();
    process.release();
  });

  it("says what it cannot run to the daemon and to whoever has started it", async () => {
    const started = launcher(["--socket", socket.path, "--", `${folder}/missing`]);
    const { channel, process } = await joining();
    await welcome({ channel, process }, specification(), [], DEADLINE_MS, () => undefined);
    const { message } = await channel.receive("FAIL", DEADLINE_MS);
    expect(message).toMatchObject({ type: "fail", step: "exec" });
    expect(await started.end).toMatchObject({
      code: 127,
      stderr: expect.stringContaining("missing") as string,
    });
    channel.close();
    process.release();
  });
});

describe("a launcher that is not welcome", () => {
  it("hears why when it is told, and ends with 127", async () => {
    const started = launcher(["--socket", socket.path, "--", "true"]);
    const { channel, process } = await joining();
    channel.send(failFrame("join", 11, "api does not await an instance"));
    expect(await started.end).toEqual({
      code: 127,
      signal: null,
      stdout: "",
      stderr: "handoff-exec: api does not await an instance\n",
    });
    channel.close();
    process.release();
  });

  it("says that the connection was closed when it is told nothing", async () => {
    const started = launcher(["--socket", socket.path, "--", "true"]);
    const connection = await new Promise<Descriptor>((resolve) => socket.accept(resolve));
    connection.close();
    const { code, stderr } = await started.end;
    expect({ code, stderr }).toEqual({
      code: 127,
      stderr: expect.stringContaining("external.allow") as string,
    });
  });

  it.each([
    ["no daemon", ["--socket", "/nowhere/api.sock", "--", "true"], 127, "does handoffd run"],
    ["no command", ["--socket", "/nowhere/api.sock"], 2, "no command"],
    ["no socket", ["--", "true"], 2, "--service or --socket"],
    ["a place that is none", ["--socket", "/x", "--place", "5-", "--", "true"], 2, "not a place: 5-"],
    [
      "a place beyond all numbers",
      ["--socket", "/x", "--place", "4294967296", "--", "true"],
      2,
      "not a place",
    ],
    ["a service that is a path", ["--service", "../x", "--", "true"], 2, "not the name of a service"],
    ["an option that nobody knows", ["--sockets", "/x", "--", "true"], 2, "unknown: --sockets"],
  ])("%s is said", async (_, args, code, said) => {
    expect(await launcher(args).end).toMatchObject({ code, stderr: expect.stringContaining(said) as string });
  });
});

describe("the socket", () => {
  it("finds its path by --service's default and by HANDOFF_SOCKET", async () => {
    expect((await launcher(["--service", "no-such-service", "--", "true"]).end).stderr).toContain(
      "/run/handoffd/no-such-service.sock",
    );
    const started = launcher(["--", "true"], { HANDOFF_SOCKET: socket.path });
    const { channel, process } = await joining();
    channel.close();
    expect((await started.end).code).toBe(127);
    process.release();
  });

  it("can be connected to by its owner alone, by a group, or by anyone", () => {
    const mode = (): string => (statSync(socket.path).mode & 0o777).toString(8);
    expect(mode()).toBe("600");
    socket.allow({ uid: null, gid: process.getgid?.() ?? 0 });
    expect(mode()).toBe("660");
    socket.allow("anyone");
    expect(mode()).toBe("666");
    if (process.getuid?.() !== 0) return;
    socket.allow({ uid: 65534, gid: null });
    expect({ mode: mode(), uid: statSync(socket.path).uid }).toEqual({ mode: "600", uid: 65534 });
  });

  it("replaces a dead one, and never one that listens", () => {
    expect(() => HandoffSocket.open(socket.path, OWN)).toThrow("EADDRINUSE");
    const copy = new Descriptor(native.duplicate(socket.fd));
    const { path } = socket;
    socket.close(false);
    copy.close();
    chmodSync(path, 0o600);
    socket = HandoffSocket.open(path, OWN);
    expect(readFileSync("/proc/net/unix", "utf8")).toContain(path);
  });
});
