/** handoff-keeper as a process, spoken to in bytes (docs/wire.md). */
import { chmodSync, fstatSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, expect, it } from "vitest";
import { asText, asU32, encodeFrame, parseFrame, textField, type Frame } from "../../handoff/frame.ts";
import { companion, native, type SpawnedProcess } from "../../handoff/native.ts";
import { alive, descriptorCount, eventually, rssKiB } from "../support/processes.ts";
import {
  closeAll,
  endOf,
  expectTableUnchanged,
  readable,
  receive,
  runScript,
  variables,
} from "./native-support.ts";

const OK = 4;
const FAIL = 3;
const PUT = 16;
const REMOVE = 17;
const LIST = 18;
const ITEMS = 19;
const RELEASE = 20;
const MORE = 1;
const NAME = 8;

expectTableUnchanged();

let folder = "";
let path = "";
let keeper: SpawnedProcess = { pid: -1, pidfd: -1 };
let limit = "";

function startKeeper(): void {
  const nothing = openSync("/dev/null", "r+");
  const listener = native.socket("unix", "seqpacket", true);
  native.bind(listener, { family: "unix", path });
  native.listen(listener, 8);
  const file = companion("handoff-keeper");
  const argv = limit === "" ? [file] : ["/bin/sh", "-c", `ulimit -n ${limit}; exec ${file}`];
  keeper = native.spawn(limit === "" ? file : "/bin/sh", argv, variables(), [nothing, nothing, 2, listener]);
  closeAll(nothing, listener);
}

beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/keeper-`);
  path = `${folder}/socket`;
  limit = "";
  startKeeper();
});

afterEach(async () => {
  // A test that ended well has released it; one that failed must not leave it.
  if (keeper.pid > 0) {
    native.pidfdSendSignal(keeper.pidfd, 9);
    await endOf(keeper);
  }
  rmSync(folder, { recursive: true });
});

function connect(): number {
  // Blocking for now: the listener's queue is short, and the keeper empties it.
  const fd = native.socket("unix", "seqpacket", false);
  native.connect(fd, { family: "unix", path });
  native.setNonblocking(fd, true);
  return fd;
}

function frame(type: number, names: readonly string[] = [], flags = 0): Uint8Array {
  return encodeFrame({ type, flags, fields: names.map((name) => textField(NAME, name)) });
}

function parsed(bytes: Uint8Array): Frame {
  const found = parseFrame(bytes);
  if (typeof found === "string") throw new Error(found);
  return found;
}

/** Sends a request and returns the answer, which is expected to carry no descriptor. */
async function ask(fd: number, request: Uint8Array, descriptors: readonly number[] = []): Promise<Frame> {
  expect(native.sendMessage(fd, request, descriptors)).toBe(true);
  const { bytes, descriptors: received } = await receive(fd);
  expect(received).toEqual([]);
  return parsed(bytes);
}

/** Everything that is held: the inode of each name's descriptor. */
async function list(fd: number): Promise<{ held: Map<string, number>; frames: number }> {
  native.sendMessage(fd, frame(LIST), []);
  const held = new Map<string, number>();
  for (let frames = 1; ; frames++) {
    const { bytes, descriptors } = await receive(fd);
    const { type, flags, fields } = parsed(bytes);
    expect(type).toBe(ITEMS);
    expect(fields.length).toBe(descriptors.length);
    descriptors.forEach((descriptor, i) => {
      held.set(asText(fields[i]) ?? "", fstatSync(descriptor).ino);
      native.close(descriptor);
    });
    if (flags !== MORE) return { held, frames };
  }
}

async function release(fd: number): Promise<void> {
  expect((await ask(fd, frame(RELEASE))).type).toBe(OK);
  native.close(fd);
  const { pid } = keeper;
  expect(await endOf(keeper)).toEqual({ code: 0, signal: null });
  keeper = { pid: -1, pidfd: -1 };
  expect(alive(pid)).toBe(false);
}

/** Resolves when the keeper has closed the connection; answers that come before are an error. */
async function dropped(fd: number): Promise<void> {
  for (;;) {
    try {
      const message = native.receiveMessage(fd, new Uint8Array(1000), 253);
      if (message?.length === 0) return;
      if (message !== null) throw new Error("it was answered");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ECONNRESET") return;
      throw error;
    }
    await readable(fd);
  }
}

it("it keeps descriptors under names, lists them to anyone who comes later, and lets go of them", async () => {
  const first = connect();
  const [a, b, c] = [native.memfd("a"), native.memfd("b"), native.memfd("c")] as const;
  expect((await ask(first, frame(PUT, ["web/0", "state"]), [a, b])).type).toBe(OK);
  expect((await ask(first, frame(PUT, ["web/1"]), [c])).type).toBe(OK);
  native.close(first);

  const second = connect();
  const inode = (fd: number): number => fstatSync(fd).ino;
  expect((await list(second)).held).toEqual(
    new Map([
      ["web/0", inode(a)],
      ["state", inode(b)],
      ["web/1", inode(c)],
    ]),
  );
  expect((await ask(second, frame(PUT, ["state"]), [c])).type).toBe(OK); // Replaced.
  expect((await ask(second, frame(REMOVE, ["web/0", "absent"]))).type).toBe(OK);
  expect((await list(second)).held).toEqual(
    new Map([
      ["state", inode(c)],
      ["web/1", inode(c)],
    ]),
  );
  expect((await ask(second, frame(REMOVE, ["state", "web/1"]))).type).toBe(OK);
  expect(await list(second)).toEqual({ held: new Map(), frames: 1 });
  closeAll(a, b, c);
  await release(second);
});

it("it keeps 600 descriptors and lists them in three frames", async () => {
  const fd = connect();
  const files = Array.from({ length: 600 }, (_, i) => native.memfd(`file-${i}`));
  for (let start = 0; start < 600; start += 250) {
    const part = files.slice(start, start + 250);
    // The longest names there are: the largest frames there are.
    const names = part.map((_, i) => String(start + i).padStart(255, "x"));
    expect((await ask(fd, frame(PUT, names), part)).type).toBe(OK);
  }
  const inodes = files.map((file) => fstatSync(file).ino);
  closeAll(...files);
  const { held, frames } = await list(fd);
  expect([...held.values()]).toEqual(inodes);
  expect(frames).toBe(3);
  expect(rssKiB(keeper.pid)).toBeLessThan(1024);
  await release(fd);
});

it("it is small, has a name, and holds nothing but what it needs", async () => {
  const fd = connect();
  await list(fd);
  expect(rssKiB(keeper.pid)).toBeLessThan(1024);
  expect(readFileSync(`/proc/${keeper.pid}/comm`, "utf8")).toBe("handoff-keeper\n");
  expect(readdirSync(`/proc/${keeper.pid}/fd`).map(Number)).toEqual([0, 1, 2, 3, 4]);
  expect(readFileSync(`/proc/${keeper.pid}/limits`, "utf8")).toMatch(/Max open files +(\d+) +\1 /);
  await release(fd);
});

it("a socket that it holds alone lives on and listens", async () => {
  const fd = connect();
  const server = native.socket("unix", "stream", true);
  const address = { family: "unix", path: `${folder}/held` } as const;
  native.bind(server, address);
  native.listen(server, 4);
  expect((await ask(fd, frame(PUT, ["server"]), [server])).type).toBe(OK);
  native.close(server);
  const client = native.socket("unix", "stream", true);
  expect(native.connect(client, address)).toBe(true);
  await release(fd);
  expect(() => native.sendMessage(client, Buffer.from("x"), [])).toThrow(/EPIPE|ECONNRESET/);
  native.close(client);
});

it("SIGTERM, SIGINT, SIGHUP and the daemon's end do not end it", async () => {
  const first = connect();
  const file = native.memfd("file");
  await ask(first, frame(PUT, ["kept"]), [file]);
  native.close(first);
  for (const signal of [15, 2, 1]) native.pidfdSendSignal(keeper.pidfd, signal);
  const second = connect();
  expect([...(await list(second)).held.keys()]).toEqual(["kept"]);
  native.close(file);
  await release(second);
});

it.each<[string, Uint8Array, number]>([
  ["garbage", Buffer.from("GET / HTTP/1.1\r\n\r\n"), 0],
  ["one byte", Buffer.from("H"), 0],
  ["an unknown type", frame(99), 0],
  ["a grant", frame(1), 0],
  ["an unknown flag", frame(LIST, [], 2), 0],
  ["a request that says that more comes", frame(PUT, ["x"], MORE), 1],
  ["a wrong length", frame(LIST).map((byte, i) => (i === 8 ? 1 : byte)), 0],
  ["a name that is too long", frame(PUT, ["x".repeat(256)]), 1],
  ["an empty name", frame(PUT, [""]), 1],
  ["fewer descriptors than names", frame(PUT, ["x", "y"]), 1],
  ["more descriptors than names", frame(PUT, ["x"]), 2],
  ["a PUT of nothing", frame(PUT), 0],
  [
    "more descriptors than a frame may have",
    frame(
      PUT,
      Array.from({ length: 251 }, (_, i) => `${i}`),
    ),
    251,
  ],
  ["names in a LIST", frame(LIST, ["x"]), 0],
  ["descriptors with a LIST", frame(LIST), 3],
  ["descriptors with a REMOVE", frame(REMOVE, ["x"]), 1],
  ["a message longer than any frame", new Uint8Array(150_000), 5],
])("a client that sends %s is dropped, and nobody else notices", async (_, bytes, count) => {
  const good = connect();
  const file = native.memfd("file");
  await ask(good, frame(PUT, ["kept"]), [file]);
  const before = descriptorCount(keeper.pid);
  const bad = connect();
  expect(
    native.sendMessage(
      bad,
      bytes,
      Array.from({ length: count }, () => file),
    ),
  ).toBe(true);
  await dropped(bad);
  native.close(bad);
  expect([...(await list(good)).held.keys()]).toEqual(["kept"]);
  await eventually("everything of it closed", () => descriptorCount(keeper.pid) === before);
  native.close(file);
  await release(good);
});

it("a client that does not take its answer keeps nobody waiting, and what was removed meanwhile goes with it", async () => {
  const good = connect();
  const [reader, writer] = native.pipe();
  const names = Array.from({ length: 250 }, (_, i) => `n${i}`);
  for (let part = 0; part < 12; part++) {
    const request = frame(
      PUT,
      names.map((name) => `${part}-${name}`.padStart(255, "x")),
    );
    expect(
      (
        await ask(
          good,
          request,
          names.map(() => writer),
        )
      ).type,
    ).toBe(OK);
  }
  native.close(writer);
  const bad = connect();
  native.sendMessage(bad, frame(LIST), []);
  await readable(bad);
  // Its answer does not fit into its queue, so the keeper still has some of it to send.
  expect((await list(good)).held.size).toBe(3000);
  for (let part = 0; part < 12; part++) {
    await ask(
      good,
      frame(
        REMOVE,
        names.map((name) => `${part}-${name}`.padStart(255, "x")),
      ),
    );
  }
  expect((await list(good)).held.size).toBe(0);
  expect(descriptorCount(keeper.pid)).toBeGreaterThan(1000);
  native.close(bad);
  await eventually("what it referred to closed", () => descriptorCount(keeper.pid) === 5);
  await readable(reader); // End of file: no writer is left anywhere.
  expect(readFileSync(reader, "utf8")).toBe("");
  native.close(reader);
  await release(good);
});

it("a hundred idle clients do not keep the next one out", async () => {
  const idle = Array.from({ length: 100 }, () => connect());
  const good = connect();
  expect((await list(good)).held.size).toBe(0);
  closeAll(...idle);
  await release(good);
});

it("what does not fit is answered with EMFILE, nothing of it is kept, and the rest can be had back", async () => {
  const first = connect();
  await release(first);
  rmSync(path);
  limit = "64";
  startKeeper();

  const fd = connect();
  const file = native.memfd("file");
  const names = (prefix: string, count: number): string[] =>
    Array.from({ length: count }, (_, i) => `${prefix}${i}`);
  const put = (prefix: string, count: number): Promise<Frame> =>
    ask(
      fd,
      frame(PUT, names(prefix, count)),
      Array.from({ length: count }, () => file),
    );
  expect((await put("a", 40)).type).toBe(OK);
  for (const count of [5, 30, 200]) {
    const { type, fields } = await put("b", count);
    expect([type, asText(fields[0]), asU32(fields[1])]).toEqual([FAIL, "put", 24]);
    expect(descriptorCount(keeper.pid)).toBe(4 + 1 + 40);
  }
  expect([...(await list(fd)).held.keys()]).toEqual(names("a", 40));
  expect((await put("b", 4)).type).toBe(OK);
  // Full, and yet reachable.
  const others = Array.from({ length: 15 }, () => connect());
  for (const other of others) expect((await list(other)).held.size).toBe(44);
  closeAll(file, ...others);
  await release(fd);
});

it("only its own user and root are served", async () => {
  const script = `
    const fd = native.socket("unix", "seqpacket", false);
    native.connect(fd, { family: "unix", path: ${JSON.stringify(path)} });
    try { console.log(native.receiveMessage(fd, Buffer.alloc(100), 0, new Int32Array(5))); } catch (error) { console.log(error.code); }
  `;
  chmodSync(folder, 0o755);
  chmodSync(path, 0o777);
  const { stdout } = await runScript(script, { uid: 65534, gid: 65534 });
  expect(stdout).toBe("0\n"); // End of file.
  await release(connect());
});

it("several clients are served at a time, each in its own order", async () => {
  const clients = Array.from({ length: 10 }, () => connect());
  const file = native.memfd("file");
  await Promise.all(
    clients.map(async (fd, i) => {
      for (let round = 0; round < 20; round++) {
        expect((await ask(fd, frame(PUT, [`${i}/${round}`]), [file])).type).toBe(OK);
      }
    }),
  );
  // Two requests without waiting in between are answered one after the other.
  const [one = -1] = clients;
  native.sendMessage(one, frame(REMOVE, ["0/0"]), []);
  native.sendMessage(one, frame(REMOVE, ["0/1"]), []);
  for (let i = 0; i < 2; i++) expect(parsed((await receive(one)).bytes).type).toBe(OK);
  expect((await list(one)).held.size).toBe(198);
  closeAll(file, ...clients.slice(1));
  await release(one);
});

it("nothing leaks over 20,000 descriptors put, replaced and listed", async () => {
  const fd = connect();
  const file = native.memfd("file");
  const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
  const descriptors = names.map(() => file);
  for (let round = 0; round < 100; round++) {
    await ask(fd, frame(PUT, names), descriptors);
    if (round % 10 === 0) await list(fd);
    if (round % 2 === 0) await ask(fd, frame(REMOVE, names.slice(50)));
  }
  expect(descriptorCount(keeper.pid)).toBe(4 + 1 + 100);
  expect(rssKiB(keeper.pid)).toBeLessThan(1024);
  native.close(file);
  await release(fd);
});
