import {
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { native, SCM_MAX_FD, SO, TCP, type InetAddress } from "../../handoff/native.ts";
import { eventually } from "../support/processes.ts";
import {
  addon,
  closeAll,
  expectTableUnchanged,
  failure,
  failureOf,
  readable,
  runScript,
} from "./native-support.ts";

expectTableUnchanged();

/** Descriptors that the test at hand opened; closed after it. */
let opened: number[] = [];
function own<T extends number | readonly number[]>(descriptors: T): T {
  opened.push(...([descriptors].flat() as number[]));
  return descriptors;
}
beforeEach(() => {
  opened = [];
});
afterEach(() => closeAll(...opened));

/** A number that is no descriptor. */
const NOTHING = 1_000_000;

function flagsOf(fd: number): number {
  const line = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"));
  return parseInt(line?.[1] ?? "", 8);
}
const isCloexec = (fd: number): boolean => (flagsOf(fd) & 0o2000000) !== 0;

function listener(
  address: InetAddress = { family: "inet", host: "127.0.0.1", port: 0 },
  before: (fd: number) => void = () => undefined,
): { fd: number; address: InetAddress } {
  const fd = own(native.socket(address.family, "stream", true));
  before(fd);
  native.bind(fd, address);
  native.listen(fd, 64);
  const bound = native.localAddress(fd);
  if (bound.family === "unix") throw new Error("a TCP socket has a unix address");
  return { fd, address: bound };
}

/** A client whose handshake is done as far as it can see. */
async function client(address: InetAddress): Promise<number> {
  const fd = own(native.socket(address.family, "stream", true));
  native.connect(fd, address);
  await eventually("the connection", () => {
    try {
      native.remoteAddress(fd);
      return true;
    } catch {
      return false; // ENOTCONN until the handshake is done.
    }
  });
  return fd;
}

async function accepted(fd: number): Promise<number> {
  return own(await eventually("a connection", () => native.accept(fd) ?? undefined));
}

describe("errors", () => {
  it("carry the errno's name, its number, the system call, and say so in words", () => {
    const error = failure(() => native.close(NOTHING));
    expect(error).toEqual({
      code: "EBADF",
      errno: 9,
      syscall: "close",
      message: "close: bad file descriptor (EBADF)",
    });
  });

  it("are TypeErrors where an argument is of the wrong kind", () => {
    const untyped = native as unknown as Record<string, (...values: unknown[]) => unknown>;
    for (const [name, ...values] of [
      ["close", "3"],
      ["close", 1.5],
      ["close", NaN],
      ["close", 2 ** 40],
      ["close"],
      ["setCloexec", 0, 1],
      ["socket", "inet9", "stream", false],
      ["socket", "inet", "raw", false],
      ["memfd", "a\0b"],
      ["bind", 0, null],
      ["bind", 0, { family: "inet", host: "127.0.0.1", port: 65536 }],
      ["bind", 0, { family: "inet", port: 1 }],
      ["shutdown", 0, "all"],
      ["sendMessage", 0, "text", []],
      ["sendMessage", 0, new Uint8Array(1), 3],
      ["sendMessage", 0, new Uint8Array(1), ["3"]],
      ["receiveMessage", 0, new Int8Array(1), 0],
      ["receiveMessage", 0, Uint8Array, 0],
      ["receiveMessage", 0, new Uint8Array(1), -1],
      ["spawn", "/bin/true", ["true"], ["A=b\0c"], []],
      ["diagSockets", "unix", 1, 0],
      ["diagSockets", "inet", 1, 65536],
      ["countByMark", -1, 0, 0],
      ["unixListenQueue", 2 ** 32],
    ] as const) {
      expect(() => untyped[name]?.(...values), `${name}(${values.map(String).join(", ")})`).toThrow(
        TypeError,
      );
    }
    expect(() => new native.Poll(0, undefined as unknown as () => void)).toThrow(TypeError);
  });

  it("name the call and EMFILE wherever a descriptor is made and the table is full", async () => {
    const { stdout, stderr } = await runScript(
      `
      const listener = native.socket("unix", "stream", true);
      native.bind(listener, { family: "unix", path: "\\0full-" + process.pid });
      native.listen(listener, 4);
      const client = native.socket("unix", "stream", true);
      native.connect(client, native.localAddress(listener));
      const self = native.pidfdOpen(process.pid);
      for (;;) { try { native.duplicate(0); } catch { break; } }
      const attempts = {
        duplicate: () => native.duplicate(0), memfd: () => native.memfd("x"), pipe: () => native.pipe(),
        socket: () => native.socket("inet", "stream", false), pair: () => native.seqpacketPair(),
        accept: () => native.accept(listener), pidfdOpen: () => native.pidfdOpen(process.pid),
        pidfdGetfd: () => native.pidfdGetfd(self, 0), diagSockets: () => native.diagSockets("inet", 1, 0),
        diagConnection: () => native.diagConnection(...Array(2).fill({ family: "inet", host: "127.0.0.1", port: 1 })),
        countByMark: () => native.countByMark(2, 0, 0), unixListenQueue: () => native.unixListenQueue(1),
        unixListenQueues: () => native.unixListenQueues(),
        spawn: () => native.spawn("/bin/true", ["true"], [], []),
      };
      for (const [name, attempt] of Object.entries(attempts)) {
        try { attempt(); console.log(name, "did not fail"); }
        catch (error) { console.log(name, error.syscall, error.code); }
      }`,
      { wrapper: ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"] },
    );
    expect(stderr).toBe("");
    expect(stdout.trim().split("\n")).toEqual([
      "duplicate fcntl EMFILE",
      "memfd memfd_create EMFILE",
      "pipe pipe2 EMFILE",
      "socket socket EMFILE",
      "pair socketpair EMFILE",
      "accept accept4 EMFILE",
      "pidfdOpen pidfd_open EMFILE",
      "pidfdGetfd pidfd_getfd EMFILE",
      "diagSockets socket EMFILE",
      "diagConnection socket EMFILE",
      "countByMark socket EMFILE",
      "unixListenQueue socket EMFILE",
      "unixListenQueues socket EMFILE",
      "spawn clone EMFILE",
    ]);
  });
});

describe("descriptors", () => {
  it("are closed once", () => {
    const [reader, writer] = native.pipe();
    native.close(writer);
    native.close(reader);
    expect(failureOf(() => native.close(reader))).toBe("EBADF of close");
  });

  it("are duplicated above the standard ones, with CLOEXEC", () => {
    const copy = own(native.duplicate(0));
    expect(copy).toBeGreaterThanOrEqual(3);
    expect(isCloexec(copy)).toBe(true);
    expect(failureOf(() => native.duplicate(NOTHING))).toBe("EBADF of fcntl");
  });

  it("have a CLOEXEC flag that goes on and off", () => {
    const [reader] = own(native.pipe());
    native.setCloexec(reader, false);
    expect(isCloexec(reader)).toBe(false);
    native.setCloexec(reader, true);
    expect(isCloexec(reader)).toBe(true);
    expect(failureOf(() => native.setCloexec(NOTHING, true))).toBe("EBADF of fcntl");
  });

  it("have a blocking mode that goes on and off", () => {
    const [reader] = own(native.pipe());
    expect(native.isNonblocking(reader)).toBe(false);
    native.setNonblocking(reader, true);
    expect(native.isNonblocking(reader)).toBe(true);
    native.setNonblocking(reader, false);
    expect(native.isNonblocking(reader)).toBe(false);
    expect(failureOf(() => native.setNonblocking(NOTHING, true))).toBe("EBADF of fcntl");
    expect(failureOf(() => native.isNonblocking(NOTHING))).toBe("EBADF of fcntl");
  });

  it("of a memfd and of a pipe have CLOEXEC and carry bytes", () => {
    const file = own(native.memfd("state"));
    writeSync(file, "kept");
    expect(readFileSync(`/proc/self/fd/${file}`, "utf8")).toBe("kept");
    expect(failureOf(() => native.memfd("x".repeat(300)))).toBe("EINVAL of memfd_create");

    const [reader, writer] = native.pipe();
    writeSync(writer, "through");
    native.close(writer);
    expect([isCloexec(file), isCloexec(reader)]).toEqual([true, true]);
    expect(readFileSync(reader, "utf8")).toBe("through");
    native.close(reader);
  });

  it("lock a file against every other open of it", () => {
    const folder = mkdtempSync(`${tmpdir()}/native-`);
    const first = own(openSync(`${folder}/lock`, "w"));
    const second = own(openSync(`${folder}/lock`, "r"));
    expect(native.lockFile(first)).toBe(true);
    expect(native.lockFile(first)).toBe(true);
    expect(native.lockFile(second)).toBe(false);
    expect(failureOf(() => native.lockFile(NOTHING))).toBe("EBADF of flock");
    rmSync(folder, { recursive: true });
  });

  it("that are one open file are told from two of the same file", () => {
    const one = own(native.memfd("one"));
    const same = own(native.duplicate(one));
    const again = own(openSync(`/proc/self/fd/${one}`, "r"));
    expect([same, again, one].map((fd) => native.isSameFile(one, fd))).toEqual([true, false, true]);
    expect(failureOf(() => native.isSameFile(NOTHING, one))).toBe("EBADF of fcntl");
  });

  it("have hung up when poll(2) says so", () => {
    const [reader, writer] = native.pipe();
    own(reader);
    const file = own(native.memfd("file"));
    expect([reader, writer, file].map((fd) => native.isHungUp(fd))).toEqual([false, false, false]);
    native.close(writer);
    expect(native.isHungUp(reader)).toBe(true);
    expect(failureOf(() => native.isHungUp(NOTHING))).toBe("EBADF of poll");
  });
});

describe("sockets", () => {
  it("have CLOEXEC, and are non-blocking only when asked", () => {
    for (const [family, type] of [
      ["inet", "stream"],
      ["inet6", "stream"],
      ["inet", "dgram"],
      ["unix", "seqpacket"],
    ] as const) {
      const blocking = own(native.socket(family, type, false));
      const not = own(native.socket(family, type, true));
      expect([isCloexec(blocking), isCloexec(not)]).toEqual([true, true]);
      expect([native.isNonblocking(blocking), native.isNonblocking(not)]).toEqual([false, true]);
    }
    expect(failureOf(() => native.socket("inet", "seqpacket", false))).toBe("ESOCKTNOSUPPORT of socket");
  });

  it("come in pairs whose ends are non-blocking, have CLOEXEC, and keep messages apart", () => {
    const pair = own(native.seqpacketPair());
    for (const end of pair) expect([isCloexec(end), native.isNonblocking(end)]).toEqual([true, true]);
    native.sendMessage(pair[0], Buffer.from("one"), []);
    native.sendMessage(pair[0], Buffer.from("two"), []);
    const buffer = Buffer.alloc(100);
    expect(native.receiveMessage(pair[1], buffer, 0)?.length).toBe(3);
    expect(native.receiveMessage(pair[1], buffer, 0)?.length).toBe(3);
    expect(native.receiveMessage(pair[1], buffer, 0)).toBeNull();
  });

  it.each(["127.0.0.1", "::1"])("listen, connect and accept at %s", async (host) => {
    const family = host === "::1" ? "inet6" : "inet";
    const { fd, address } = listener({ family, host, port: 0 });
    expect(address).toEqual({ family, host, port: address.port });
    expect(native.accept(fd)).toBeNull();
    const one = await client(address);
    const other = await accepted(fd);
    expect([isCloexec(other), native.isNonblocking(other)]).toEqual([true, true]);
    expect(native.remoteAddress(other)).toEqual(native.localAddress(one));
    expect(native.localAddress(other)).toEqual(address);
  });

  it("listen, connect and accept at a path and at an abstract name", async () => {
    const folder = mkdtempSync(`${tmpdir()}/native-`);
    for (const path of [
      `${folder}/socket`,
      `\0${folder}`,
      `${folder}/${"x".repeat(107 - folder.length - 1)}`,
    ]) {
      const server = own(native.socket("unix", "stream", true));
      native.bind(server, { family: "unix", path });
      native.listen(server, 1);
      const other = own(native.socket("unix", "stream", true));
      expect(native.connect(other, { family: "unix", path })).toBe(true);
      expect(native.remoteAddress(other)).toEqual({ family: "unix", path });
      expect(native.localAddress(other)).toEqual({ family: "unix", path: "" });
      await accepted(server);
    }
    rmSync(folder, { recursive: true });
  });

  it("refuse an address that is taken, malformed or too long, and say which", () => {
    const { address } = listener();
    const fd = own(native.socket("inet", "stream", true));
    expect(failure(() => native.bind(fd, address)).message).toBe("bind: address already in use (EADDRINUSE)");
    for (const host of ["localhost", "", "127.0.0.1\0.example.org", "::1"]) {
      expect(failureOf(() => native.bind(fd, { family: "inet", host, port: 0 }))).toBe("EINVAL of bind");
    }
    for (const host of ["fe80::1%nothing", "fe80::1%", "127.0.0.1"]) {
      expect(failureOf(() => native.bind(fd, { family: "inet6", host, port: 0 }))).toBe("EINVAL of bind");
    }
    const unix = own(native.socket("unix", "stream", true));
    const path = `/tmp/${"x".repeat(103)}`;
    expect(failureOf(() => native.bind(unix, { family: "unix", path }))).toBe("ENAMETOOLONG of bind");
    expect(failureOf(() => native.bind(unix, { family: "unix", path: "" }))).toBe("EINVAL of bind");
    expect(failureOf(() => native.bind(unix, { family: "unix", path: "/tmp/a\0b" }))).toBe("EINVAL of bind");
    expect(failureOf(() => native.connect(unix, { family: "unix", path: "/nonexistent/x" }))).toBe(
      "ENOENT of connect",
    );
    expect(failureOf(() => native.localAddress(NOTHING))).toBe("EBADF of getsockname");
    expect(failureOf(() => native.remoteAddress(fd))).toBe("ENOTCONN of getpeername");
  });

  it("say false, and do not throw, while a connection is under way or the queue is full", () => {
    const { address } = listener();
    const tcp = own(native.socket("inet", "stream", true));
    expect(native.connect(tcp, address)).toBe(false);

    const server = own(native.socket("unix", "stream", true));
    native.bind(server, { family: "unix", path: `\0full-${process.pid}` });
    native.listen(server, 0);
    const unix = { family: "unix", path: `\0full-${process.pid}` } as const;
    const results = [1, 2].map(() => native.connect(own(native.socket("unix", "stream", true)), unix));
    expect(results).toEqual([true, false]);
  });

  it("must listen before they accept or tell a queue", () => {
    const fd = own(native.socket("inet", "stream", true));
    expect(failureOf(() => native.accept(fd))).toBe("EINVAL of accept4");
    expect(failureOf(() => native.listenQueue(fd))).toBe("EINVAL of getsockopt");
    expect(failureOf(() => native.listen(own(native.socket("inet", "dgram", true)), 1))).toBe(
      "EOPNOTSUPP of listen",
    );
    expect(failureOf(() => native.listenQueue(own(native.socket("unix", "stream", true))))).toBe(
      "EOPNOTSUPP of getsockopt",
    );
  });

  it("end in one direction by shutdown", () => {
    const [one, other] = own(native.seqpacketPair());
    native.shutdown(one, "write");
    expect(native.receiveMessage(other, Buffer.alloc(1), 0)?.length).toBe(0);
    native.shutdown(other, "both");
    native.shutdown(one, "read");
    const fd = own(native.socket("inet", "stream", true));
    expect(failureOf(() => native.shutdown(fd, "both"))).toBe("ENOTCONN of shutdown");
  });

  it("have options by number", () => {
    const fd = own(native.socket("inet", "stream", true));
    expect(native.getOption(fd, SO.SOL_SOCKET, SO.SO_REUSEPORT)).toBe(0);
    native.setOption(fd, SO.SOL_SOCKET, SO.SO_REUSEPORT, 1);
    expect(native.getOption(fd, SO.SOL_SOCKET, SO.SO_REUSEPORT)).toBe(1);
    expect(native.getOption(fd, SO.SOL_SOCKET, SO.SO_DOMAIN)).toBe(2);
    expect(failureOf(() => native.getOption(fd, SO.SOL_SOCKET, 9999))).toBe("ENOPROTOOPT of getsockopt");
    expect(failureOf(() => native.setOption(fd, SO.SOL_SOCKET, 9999, 1))).toBe("ENOPROTOOPT of setsockopt");
  });

  it("have a cookie that their duplicates share and no other socket has", () => {
    const [one, other] = own(native.seqpacketPair());
    const copy = own(native.duplicate(one));
    expect(native.cookie(one)).toBe(native.cookie(copy));
    expect(native.cookie(one)).not.toBe(native.cookie(other));
    const [reader] = own(native.pipe());
    expect(failureOf(() => native.cookie(reader))).toBe("ENOTSOCK of getsockopt");
  });

  it("know who is at the other end", () => {
    const [one] = own(native.seqpacketPair());
    const self = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
    expect(native.peerCredentials(one)).toEqual(self);
    const [reader] = own(native.pipe());
    expect(failureOf(() => native.peerCredentials(reader))).toBe("ENOTSOCK of getsockopt");
  });

  it("tell their accept queue and its limit", async () => {
    const { fd, address } = listener();
    native.listen(fd, 7);
    expect(native.listenQueue(fd)).toEqual({ length: 0, limit: 7 });
    for (let i = 0; i < 3; i++) await client(address);
    await eventually("the queue", () => native.listenQueue(fd).length === 3);
    await accepted(fd);
    expect(native.listenQueue(fd)).toEqual({ length: 2, limit: 7 });
  });
});

describe("a reuseport filter", () => {
  /** struct sock_filter: code u16, jt u8, jf u8, k u32. */
  function program(
    ...instructions: readonly [code: number, jt: number, jf: number, k: number][]
  ): Uint8Array {
    const bytes = Buffer.alloc(8 * instructions.length);
    instructions.forEach(([code, jt, jf, k], i) => {
      bytes.writeUInt16LE(code, 8 * i);
      bytes.writeUInt8(jt, 8 * i + 2);
      bytes.writeUInt8(jf, 8 * i + 3);
      bytes.writeUInt32LE(k, 8 * i + 4);
    });
    return bytes;
  }
  const always = (index: number): Uint8Array => program([0x06, 0, 0, index]);
  const random = program([0x20, 0, 0, 0xfffff038], [0x94, 0, 0, 2], [0x16, 0, 0, 0]);

  const reuse = (fd: number): void => native.setOption(fd, SO.SOL_SOCKET, SO.SO_REUSEPORT, 1);

  function group(): { first: number; second: number; address: InetAddress } {
    const { fd: first, address } = listener(undefined, reuse);
    return { first, second: listener(address, reuse).fd, address };
  }

  it("decides which member gets each new connection, and a new one replaces it", async () => {
    const { first, second, address } = group();
    const lengths = (): number[] => [first, second].map((fd) => native.listenQueue(fd).length);
    native.attachReuseportFilter(first, always(1));
    for (let i = 0; i < 20; i++) await client(address);
    await eventually("20 on the second", () => lengths().join() === "0,20");
    native.attachReuseportFilter(second, always(0));
    for (let i = 0; i < 20; i++) await client(address);
    await eventually("20 on each", () => lengths().join() === "20,20");
    native.attachReuseportFilter(second, random);
    for (let i = 0; i < 20; i++) await client(address);
    await eventually("all 60", () => lengths().reduce((sum, length) => sum + length) === 60);
  });

  it("is refused where it is no program, and where the listener is in no group", async () => {
    const { first, second, address } = group();
    native.attachReuseportFilter(first, always(1));
    const bad = [new Uint8Array(0), new Uint8Array(7), new Uint8Array(8), program([0x20, 0, 0, 0])];
    for (const bytes of bad) {
      expect(failureOf(() => native.attachReuseportFilter(first, bytes))).toBe("EINVAL of setsockopt");
    }
    expect(failureOf(() => native.attachReuseportFilter(first, new Uint8Array(8 * 5000)))).toBe(
      "EINVAL of setsockopt",
    );
    await client(address);
    await eventually("the program from before", () => native.listenQueue(second).length === 1);
    expect(failureOf(() => native.attachReuseportFilter(listener().fd, always(0)))).toBe(
      "EINVAL of setsockopt",
    );
  });

  it("may stand anywhere in a larger buffer", () => {
    const { first } = group();
    const shifted = new Uint8Array(11);
    shifted.set(always(1), 3);
    native.attachReuseportFilter(first, shifted.subarray(3));
  });
});

describe("messages", () => {
  it("carry data and descriptors, which arrive with CLOEXEC as the same open files", () => {
    const [one, other] = own(native.seqpacketPair());
    const file = own(native.memfd("passed"));
    expect(native.sendMessage(one, Buffer.from("take it"), [file, one])).toBe(true);
    const buffer = Buffer.alloc(100);
    const message = native.receiveMessage(other, buffer, 2);
    const [passed = -1, socket = -1] = own(message?.descriptors ?? []);
    expect(message).toMatchObject({
      length: 7,
      dataTruncated: false,
      descriptorsTruncated: false,
      credentials: null,
    });
    expect(buffer.toString("utf8", 0, 7)).toBe("take it");
    expect(fstatSync(passed).ino).toBe(fstatSync(file).ino);
    expect(native.cookie(socket)).toBe(native.cookie(one));
    expect([isCloexec(passed), isCloexec(socket)]).toEqual([true, true]);
  });

  it("say who sent them where the receiver asked for that", () => {
    const [one, other] = own(native.seqpacketPair());
    native.setOption(other, SO.SOL_SOCKET, SO.SO_PASSCRED, 1);
    native.sendMessage(one, Buffer.from("x"), [0]);
    const message = native.receiveMessage(other, Buffer.alloc(10), SCM_MAX_FD);
    own(message?.descriptors ?? []);
    expect(message?.descriptors).toHaveLength(1);
    expect(message?.credentials).toEqual({
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
  });

  it("say false when the queue is full and null when it is empty", () => {
    const [one, other] = own(native.seqpacketPair());
    const data = new Uint8Array(10_000);
    let sent = 0;
    while (native.sendMessage(one, data, [])) sent++;
    expect(sent).toBeGreaterThan(1);
    for (let i = 0; i < sent; i++) expect(native.receiveMessage(other, data, 0)?.length).toBe(10_000);
    expect(native.receiveMessage(other, data, 0)).toBeNull();
    expect(native.sendMessage(one, data, [])).toBe(true);
  });

  it("say when they were longer than the buffer, and when the peer has gone", () => {
    const [one, other] = native.seqpacketPair();
    native.sendMessage(one, Buffer.from("longer"), []);
    native.close(one);
    expect(native.receiveMessage(other, Buffer.alloc(3), 0)).toMatchObject({
      length: 3,
      dataTruncated: true,
    });
    expect(native.receiveMessage(other, Buffer.alloc(3), 0)).toMatchObject({ length: 0, descriptors: [] });
    native.close(other);
  });

  it("are refused where they cannot be sent or received", () => {
    const [one, other] = own(native.seqpacketPair());
    const [reader] = own(native.pipe());
    expect(failureOf(() => native.sendMessage(one, Buffer.from("x"), [NOTHING]))).toBe("EBADF of sendmsg");
    expect(failureOf(() => native.sendMessage(reader, Buffer.from("x"), []))).toBe("ENOTSOCK of sendmsg");
    expect(failureOf(() => native.receiveMessage(reader, Buffer.alloc(1), 0))).toBe("ENOTSOCK of recvmsg");
    expect(failureOf(() => native.receiveMessage(other, Buffer.alloc(0), 0))).toBe("EINVAL of recvmsg");
    expect(failureOf(() => native.receiveMessage(other, Buffer.alloc(1), SCM_MAX_FD + 1))).toBe(
      "EINVAL of recvmsg",
    );
  });
});

describe("users and groups", () => {
  it("are found by name and by number", () => {
    const superuser = native.lookupUser("root");
    expect(superuser).toEqual({
      name: "root",
      uid: 0,
      gid: 0,
      home: "/root",
      shell: expect.any(String) as string,
    });
    expect(native.lookupUser(0)).toEqual(superuser);
    expect(native.lookupGroup("root")).toBe(0);
    expect(native.groupsOf("root", 4711).sort((a, b) => a - b)).toContain(4711);
  });

  it("are null when nobody knows them", () => {
    expect(native.lookupUser("no-such-user-here")).toBeNull();
    expect(native.lookupUser(3_999_999_999)).toBeNull();
    expect(native.lookupGroup("no-such-group-here")).toBeNull();
    expect(native.groupsOf("no-such-user-here", 7)).toEqual([7]);
  });
});

describe("diagnosis", () => {
  it("tells each socket of a port with its state, addresses, inode, user and mark", async () => {
    const { fd, address } = listener(undefined, (socket) => {
      native.setOption(socket, SO.SOL_SOCKET, SO.SO_MARK, 0x4a0001);
    });
    const one = await client(address);
    const remotePort = (native.localAddress(one) as InetAddress).port;
    const common = {
      family: "inet",
      localHost: "127.0.0.1",
      localPort: address.port,
      uid: process.getuid?.(),
    };
    const listening = {
      ...common,
      state: TCP.LISTEN,
      remoteHost: "0.0.0.0",
      remotePort: 0,
      inode: fstatSync(fd).ino,
      mark: 0x4a0001,
    };
    const states = (1 << TCP.LISTEN) | (1 << TCP.ESTABLISHED);
    const queued = { ...common, state: TCP.ESTABLISHED, remoteHost: "127.0.0.1", remotePort, mark: 0x4a0001 };
    await eventually("the connection", () => native.listenQueue(fd).length === 1);
    expect(native.diagSockets("inet", states, address.port).sort((a, b) => b.state - a.state)).toEqual([
      listening,
      { ...queued, inode: 0 },
    ]);
    const other = await accepted(fd);
    expect(native.diagSockets("inet", 1 << TCP.ESTABLISHED, address.port)).toEqual([
      { ...queued, inode: fstatSync(other).ino },
    ]);
    expect(native.diagSockets("inet", 1 << TCP.LISTEN, 0)).toContainEqual(listening);
    expect(native.diagSockets("inet6", states, address.port)).toEqual([]);
  });

  it("finds one connection by its two ends, and says null where there is none", async () => {
    for (const host of ["127.0.0.1", "::1"]) {
      const { fd, address } = listener({ family: host === "::1" ? "inet6" : "inet", host, port: 0 });
      const one = await client(address);
      const other = await accepted(fd);
      const local = native.localAddress(one) as InetAddress;
      const found = { state: TCP.ESTABLISHED, family: address.family, localHost: host, remoteHost: host };
      const ports = { localPort: local.port, remotePort: address.port };
      expect(native.diagConnection(local, address)).toMatchObject({ ...found, ...ports });
      expect(native.diagConnection(address, local)).toMatchObject({ inode: fstatSync(other).ino });
      expect(native.diagConnection(address, { ...local, port: 1 })).toBeNull(); // The listener is no answer.
      const mixed = { family: host === "::1" ? "inet" : "inet6", host: "127.0.0.1", port: 1 } as const;
      expect(failureOf(() => native.diagConnection(address, mixed))).toBe("EINVAL of sendto");
    }
  });

  it("shows a dual-stack socket's IPv4 addresses as such", async () => {
    const { fd, address } = listener({ family: "inet6", host: "::", port: 0 }, (socket) => {
      native.setOption(socket, SO.IPPROTO_IPV6, SO.IPV6_V6ONLY, 0);
    });
    await client({ family: "inet", host: "127.0.0.1", port: address.port });
    await client({ family: "inet6", host: "::1", port: address.port });
    await eventually("both", () => native.listenQueue(fd).length === 2);
    const seen = native.diagSockets("inet6", 1 << TCP.ESTABLISHED, address.port);
    expect(seen.map(({ family, localHost, remoteHost }) => [family, localHost, remoteHost]).sort()).toEqual([
      ["inet6", "127.0.0.1", "127.0.0.1"],
      ["inet6", "::1", "::1"],
    ]);
  });

  it("sees a half-open connection, which the accept queue does not show", async () => {
    const { fd, address } = listener(undefined, (socket) => {
      native.setOption(socket, SO.IPPROTO_TCP, SO.TCP_DEFER_ACCEPT, 30);
    });
    await client(address);
    const halfOpen = await eventually("SYN_RECV", () => {
      const [first] = native.diagSockets("inet", 1 << TCP.SYN_RECV, address.port);
      return first;
    });
    expect(halfOpen).toMatchObject({ state: TCP.SYN_RECV, localPort: address.port, inode: 0 });
    expect(native.listenQueue(fd).length).toBe(0);
  });

  it("counts connections of both families by their listener's mark", async () => {
    const mark = (value: number) => (socket: number) => {
      native.setOption(socket, SO.SOL_SOCKET, SO.SO_MARK, value);
    };
    const first = listener(undefined, mark(0x5b0001));
    const second = listener({ family: "inet6", host: "::1", port: 0 }, mark(0x5b0001));
    const third = listener(undefined, mark(0x5b0002));
    for (const { fd, address } of [first, second, second, third]) {
      await client(address);
      await accepted(fd);
    }
    const established = 1 << TCP.ESTABLISHED;
    expect(native.countByMark(established, 0x5b0000, 0xffff0000)).toEqual([
      [0x5b0001, 3],
      [0x5b0002, 1],
    ]);
    expect(native.countByMark(established, 0x5b0002, 0xffffffff)).toEqual([[0x5b0002, 1]]);
    expect(native.countByMark(established, 0x5c0000, 0xffff0000)).toEqual([]);
  });

  it("counts by mark what a process has, and not what waits to be accepted", async () => {
    const { fd, address } = listener(undefined, (socket) => {
      native.setOption(socket, SO.SOL_SOCKET, SO.SO_MARK, 0x5b0003);
    });
    const established = 1 << TCP.ESTABLISHED;
    await client(address);
    await eventually("a connection that waits", () => native.listenQueue(fd).length === 1);
    expect(native.countByMark(established, 0x5b0003, 0xffffffff)).toEqual([]);
    await accepted(fd);
    expect(native.countByMark(established, 0x5b0003, 0xffffffff)).toEqual([[0x5b0003, 1]]);
  });

  it("counts by mark with CAP_NET_ADMIN only", async () => {
    const { stdout } = await runScript(
      `try { native.countByMark(2, 1, 1); } catch (error) { console.log(error.code); }`,
      { uid: 65534, gid: 65534 },
    );
    expect(stdout.trim()).toBe("EPERM");
  });

  it("finds one connection among thousands", async () => {
    const { fd, address } = listener();
    native.listen(fd, 4096);
    const many: number[] = [];
    for (let i = 0; i < 1500; i++) many.push(await client(address));
    await eventually("all of them", () => native.listenQueue(fd).length === 1500);
    expect(native.diagSockets("inet", 1 << TCP.ESTABLISHED, address.port)).toHaveLength(1500);
  });

  it("tells the accept queue of a unix socket by its inode", () => {
    const server = own(native.socket("unix", "stream", true));
    const address = { family: "unix", path: `\0queue-${process.pid}` } as const;
    native.bind(server, address);
    native.listen(server, 5);
    expect(native.unixListenQueue(fstatSync(server).ino)).toEqual({ length: 0, limit: 5 });
    const one = own(native.socket("unix", "stream", true));
    native.connect(one, address);
    native.connect(own(native.socket("unix", "stream", true)), address);
    expect(native.unixListenQueue(fstatSync(server).ino)).toEqual({ length: 2, limit: 5 });
    expect(new Map(native.unixListenQueues()).get(fstatSync(server).ino)).toEqual({ length: 2, limit: 5 });
    expect(new Map(native.unixListenQueues()).has(fstatSync(one).ino)).toBe(false);
    expect(failureOf(() => native.unixListenQueue(fstatSync(one).ino))).toBe("EINVAL of recv");
    expect(failureOf(() => native.unixListenQueue(1))).toBe("ENOENT of recv");
  });
});

describe("a poll", () => {
  it("calls back for as long as the descriptor is readable, until it is stopped", async () => {
    const [reader, writer] = own(native.pipe());
    let calls = 0;
    await new Promise<void>((resolve) => {
      const poll = new native.Poll(reader, () => {
        calls++;
        if (calls === 3) {
          poll.stop();
          resolve();
        }
      });
      poll.start();
      poll.start();
      writeSync(writer, "x");
    });
    await readable(reader);
    expect(calls).toBe(3);
  });

  it("starts again after a stop, and does nothing after a close", async () => {
    const [reader, writer] = own(native.pipe());
    writeSync(writer, "x");
    await new Promise<void>((resolve) => {
      const poll = new native.Poll(reader, () => {
        poll.close();
        poll.close();
        poll.stop();
        poll.ref();
        poll.unref();
        expect(failureOf(() => poll.start())).toBe("EBADF of uv_poll_start");
        resolve();
      });
      poll.start();
      poll.stop();
      poll.start();
    });
  });

  it("calls back when the other end hangs up", async () => {
    const [reader, writer] = native.pipe();
    own(reader);
    const hungUp = readable(reader);
    native.close(writer);
    await hungUp;
  });

  it("leaves the descriptor in its blocking mode, which others share", () => {
    const [reader] = own(native.pipe());
    const poll = new native.Poll(reader, () => undefined);
    poll.start();
    expect(native.isNonblocking(reader)).toBe(false);
    poll.close();
    expect(native.isNonblocking(reader)).toBe(false);
  });

  it("refuses what cannot be watched", () => {
    const file = own(native.memfd("file"));
    expect(failureOf(() => new native.Poll(file, () => undefined))).toBe("EPERM of uv_poll_init");
    expect(failureOf(() => new native.Poll(NOTHING, () => undefined))).toBe("EBADF of fcntl");
    const [reader, writer] = native.pipe();
    const poll = new native.Poll(reader, () => undefined);
    poll.start();
    expect(failureOf(() => new native.Poll(reader, () => undefined))).toBe("EEXIST of uv_poll_init");
    poll.stop();
    closeAll(reader, writer);
    expect(failureOf(() => poll.start())).toBe("EBADF of epoll_ctl");
    poll.close();
  });

  /** A pipe whose read end has this number, which was just closed. */
  function pipeAt(number: number): { reader: number; writer: number } {
    const [reader, writer] = native.pipe();
    expect(reader).toBe(number);
    return { reader, writer };
  }

  it.each([
    ["in the callback", "with a stop before"],
    ["in the callback", "without one"],
    ["in its microtasks", "with a stop before"],
    ["in its microtasks", "without one"],
  ])("loses no event of a new poll whose descriptor got the old one's number %s, %s", async (when, how) => {
    const [reader, writer] = native.pipe();
    writeSync(writer, "x");
    let next = { reader: -1, writer: -1 };
    const polls: { close(): void }[] = [];
    await new Promise<void>((resolve, reject) => {
      const reopen = (): void => {
        native.close(reader);
        next = pipeAt(reader);
        const second = new native.Poll(next.reader, resolve);
        polls.push(second);
        second.start();
        writeSync(next.writer, "y");
        // Only now, as code does that cleans up in `finally`.
        first.close();
      };
      const first = new native.Poll(reader, () => {
        if (how === "with a stop before") first.stop();
        if (when === "in the callback") reopen();
        else void Promise.resolve().then(reopen).catch(reject);
      });
      first.start();
    });
    for (const poll of polls) poll.close();
    closeAll(writer, next.reader, next.writer);
  });

  it.each(["in the callback", "in its microtasks"])(
    "loses no event of its own when another descriptor gets its number %s",
    async (when) => {
      const [reader, writer] = native.pipe();
      writeSync(writer, "x");
      let next = { reader: -1, writer: -1 };
      await new Promise<void>((resolve, reject) => {
        let calls = 0;
        const reopen = (): void => {
          native.close(reader);
          next = pipeAt(reader);
          writeSync(next.writer, "y");
        };
        const poll = new native.Poll(reader, () => {
          if (++calls === 2) {
            poll.close();
            resolve();
          } else if (when === "in the callback") reopen();
          else void Promise.resolve().then(reopen).catch(reject);
        });
        poll.start();
      });
      closeAll(writer, next.reader, next.writer);
    },
  );

  /** The descriptors that libuv's epoll watches in this process (proc_pid_fdinfo(5)). */
  function watched(): number[] {
    const all = readdirSync("/proc/self/fdinfo").flatMap((number) => {
      try {
        return [readFileSync(`/proc/self/fdinfo/${number}`, "utf8")];
      } catch {
        return []; // That of the directory, closed by now.
      }
    });
    return [...all.join("").matchAll(/^tfd:\s+(\d+)/gm)].map((match) => Number(match[1]));
  }

  it("stays with the loop from one call to the next, so that a message costs no epoll_ctl", async () => {
    const [reader, writer] = own(native.pipe());
    writeSync(writer, "x");
    const during = await new Promise<number[]>((resolve) => {
      const poll = new native.Poll(reader, () => {
        resolve(watched());
        poll.close();
      });
      poll.start();
    });
    expect(during).toContain(reader);
    expect(watched()).not.toContain(reader);
  });

  it("lets go of a descriptor that its callback closes, also when another process has it still", async () => {
    const [reader, writer] = native.pipe();
    const copy = own(native.duplicate(reader));
    own(writer);
    writeSync(writer, "x");
    const after = await new Promise<number[]>((resolve) => {
      const poll = new native.Poll(reader, () => {
        // libuv would be told of the copy for ever, by a number that it cannot take out any more.
        native.close(reader);
        resolve(watched());
        poll.close();
      });
      poll.start();
    });
    expect(after).not.toContain(reader);
    expect(readSync(copy, Buffer.alloc(2))).toBe(1);
  });

  it("falls silent, and does not end the process, when its number is closed or becomes a plain file", async () => {
    const { code, stdout, stderr } = await runScript(`
      const fs = require("node:fs");
      const scene = (reopen) => {
        const [reader, writer] = native.pipe();
        fs.writeSync(writer, "x");
        const poll = new native.Poll(reader, () => { native.close(reader); reopen(reader); });
        poll.start();
      };
      scene(() => {});
      scene((number) => { while (fs.openSync("/etc/passwd") < number); });
      const [reader, writer] = native.pipe();
      fs.writeSync(writer, "x");
      let calls = 0;
      const poll = new native.Poll(reader, () => { if (++calls === 10) { poll.close(); console.log("alive"); } });
      poll.start();
    `);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "alive\n", stderr: "" });
  });

  it("sends what its callback throws to uncaughtException, and goes on", async () => {
    const { code, stdout, stderr } = await runScript(`
      const [reader, writer] = native.pipe();
      require("node:fs").writeSync(writer, "x");
      let calls = 0;
      process.on("uncaughtException", (error) => console.log("caught", error.message));
      const poll = new native.Poll(reader, () => {
        if (++calls === 3) poll.close();
        throw new Error("from call " + calls);
      });
      poll.start();
    `);
    expect(stderr).toBe("");
    expect(stdout).toBe("caught from call 1\ncaught from call 2\ncaught from call 3\n");
    expect(code).toBe(0);
  });

  it("ends the process when nobody catches what its callback throws", async () => {
    const { code, stderr } = await runScript(`
      const [reader, writer] = native.pipe();
      native.close(writer);
      new native.Poll(reader, () => { throw new Error("nobody catches this"); }).start();
    `);
    expect(stderr).toContain("nobody catches this");
    expect(code).toBe(1);
  });

  it("keeps the process alive unless unref'd, and its object while started", async () => {
    const { code, stdout, stderr } = await runScript(`
      const fs = require("node:fs");
      require("node:v8").setFlagsFromString("--expose-gc");
      const gc = require("node:vm").runInNewContext("gc");
      const [idle] = native.pipe();
      const silent = new native.Poll(idle, () => {});
      silent.start();
      silent.unref();
      const [reader, writer] = native.pipe();
      (() => { const poll = new native.Poll(reader, () => { console.log("called"); poll.close(); }); poll.start(); })();
      gc();
      setImmediate(() => { gc(); fs.writeSync(writer, "x"); });
      const [other] = native.pipe();
      for (let i = 0; i < 200; i++) new native.Poll(other, () => {});
      setImmediate(gc);
    `);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "called\n", stderr: "" });
  });

  it("is collected with all that its callback knows once it is closed, whether it was ever called or not", async () => {
    const { code, stdout, stderr } = await runScript(`
      require("node:v8").setFlagsFromString("--expose-gc");
      const gc = require("node:vm").runInNewContext("gc");
      const owners = [];
      const own = (fd) => {
        const owner = { poll: new native.Poll(fd, () => owner.poll.close()) };
        owner.poll.start();
        owners.push(new WeakRef(owner));
        return owner;
      };
      const one = () => {
        own(native.pipe()[0]).poll.close();
        const [reader, writer] = native.pipe();
        native.close(writer);
        own(reader);
      };
      const look = (times) => {
        gc();
        const left = owners.filter((each) => each.deref() !== undefined).length;
        if (left === 0 || times === 0) console.log(owners.length, "made,", left, "left");
        else setTimeout(look, 10, times - 1);
      };
      for (let n = 0; n < 50; n++) setTimeout(one, n);
      setTimeout(look, 100, 100);
    `);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "100 made, 0 left\n", stderr: "" });
  });

  it("ends with its worker: by return, by process.exit in the callback, by terminate, and in the main thread", async () => {
    const { code, stdout, stderr } = await runScript(`
      const { Worker } = require("node:worker_threads");
      const path = ${JSON.stringify(addon)};
      const head = "const native = require(" + JSON.stringify(path) + ");" +
        "const { parentPort } = require('node:worker_threads');" +
        "const [reader, writer] = native.pipe(); native.close(writer);";
      const tails = [
        "const poll = new native.Poll(reader, () => poll.close()); poll.start();",
        "new native.Poll(reader, () => process.exit()).start();",
        "new native.Poll(reader, () => parentPort.postMessage('turning')).start();",
        "new native.Poll(native.seqpacketPair()[0], () => {}).start(); parentPort.postMessage('waiting');",
        "new native.Poll(reader, () => { parentPort.postMessage('spinning'); for (;;); }).start();",
      ];
      const ends = tails.map((tail) => new Promise((resolve) => {
        const worker = new Worker(head + tail, { eval: true });
        worker.once("message", () => worker.terminate());
        worker.once("exit", resolve);
      }));
      Promise.all(ends).then((codes) => {
        console.log(codes.join());
        new native.Poll(native.seqpacketPair()[0], () => {}).start();
        process.exit();
      });
    `);
    expect(stderr).toBe("");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "0,0,1,1,1\n" });
  });
});

it("the addon knows the same SCM_MAX_FD as its sources", () => {
  const sources = readdirSync("handoff/native").filter(
    (name) => name === "message.h" || name === "passing.h",
  );
  for (const name of sources) {
    expect(readFileSync(`handoff/native/${name}`, "utf8")).toMatch(
      new RegExp(`(kScmMaxFd|SCM_MAX_FD) = ${SCM_MAX_FD}\\b`),
    );
  }
});
