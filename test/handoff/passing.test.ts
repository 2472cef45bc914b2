/** What the kernel does with descriptors on their way, and what we make of it. */
import { fstatSync, openSync, readFileSync, writeSync } from "node:fs";
import { expect, it } from "vitest";
import { native, SCM_MAX_FD } from "../../handoff/native.ts";
import { eventually } from "../support/processes.ts";
import {
  closeAll,
  endOf,
  expectTableUnchanged,
  failureOf,
  runScript,
  table,
  variables,
} from "./native-support.ts";

expectTableUnchanged();

const X = Buffer.from("x");

function repeated(fd: number, count: number): number[] {
  return Array.from({ length: count }, () => fd);
}

it("1,000,000 descriptors are passed and closed and the table is as before", () => {
  const before = table();
  const [one, other] = native.seqpacketPair();
  const batch = repeated(other, 250);
  const buffer = Buffer.alloc(1);
  let passed = 0;
  while (passed < 1_000_000) {
    if (!native.sendMessage(one, X, batch)) throw new Error("the queue is full");
    const message = native.receiveMessage(other, buffer, SCM_MAX_FD);
    for (const fd of message?.descriptors ?? []) native.close(fd);
    passed += message?.descriptors.length ?? NaN;
  }
  expect(passed).toBe(1_000_000);
  closeAll(one, other);
  expect(table()).toBe(before);
});

it("one message carries 253 descriptors and not 254", () => {
  const [one, other] = native.seqpacketPair();
  expect(native.sendMessage(one, X, repeated(one, SCM_MAX_FD))).toBe(true);
  const message = native.receiveMessage(other, Buffer.alloc(1), SCM_MAX_FD);
  expect(message?.descriptors).toHaveLength(253);
  expect(message?.descriptorsTruncated).toBe(false);
  closeAll(...(message?.descriptors ?? []));
  expect(failureOf(() => native.sendMessage(one, X, repeated(one, SCM_MAX_FD + 1)))).toBe(
    "EINVAL of sendmsg",
  );
  expect(native.receiveMessage(other, Buffer.alloc(1), SCM_MAX_FD)).toBeNull();
  closeAll(one, other);
});

it.each([0, 1, 2, 3, 4, 11, 12, 50, 252])(
  "a receiver with room for %i of 253 gets no more, and is told that some were lost",
  (room) => {
    const [one, other] = native.seqpacketPair();
    native.sendMessage(one, X, repeated(one, SCM_MAX_FD));
    const message = native.receiveMessage(other, Buffer.alloc(1), room);
    expect(message?.descriptors).toHaveLength(room);
    expect(message?.descriptorsTruncated).toBe(true);
    closeAll(one, other, ...(message?.descriptors ?? []));
  },
);

it("one descriptor more than there is room for is noticed, though padding lets it in", () => {
  for (const room of [0, 1, 3, 7]) {
    const [one, other] = native.seqpacketPair();
    native.sendMessage(one, X, repeated(one, room + 1));
    const message = native.receiveMessage(other, Buffer.alloc(1), room);
    expect([message?.descriptors.length, message?.descriptorsTruncated]).toEqual([room, true]);
    closeAll(one, other, ...(message?.descriptors ?? []));
  }
});

it("a receiver at its RLIMIT_NOFILE is told that descriptors were lost, and keeps none it does not know of", async () => {
  const { code, stdout, stderr } = await runScript(
    `
    // Not by reading /proc/self/fd: that takes a descriptor, and there is none left.
    const count = () => {
      let open = 0;
      for (let fd = 0; fd < 64; fd++) try { native.isNonblocking(fd); open++; } catch {}
      return open;
    };
    const [one, other] = native.seqpacketPair();
    const before = count();
    native.sendMessage(one, Buffer.from("x"), Array(200).fill(one));
    const report = new Int32Array(5 + 253);
    const length = native.receiveMessage(other, Buffer.alloc(1), 253, report);
    const descriptors = report.subarray(5, 5 + report[4]);
    console.log(length, descriptors.length < 200, (report[0] & 2) !== 0);
    console.log(count(), count() - before === descriptors.length);
    for (const fd of descriptors) native.close(fd);
    console.log(count() - before);
    `,
    { wrapper: ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"] },
  );
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "1 true true\n64 true\n0\n", stderr: "" });
});

it("a message of 0 bytes is refused: it would look like the end of file", () => {
  const [one, other] = native.seqpacketPair();
  expect(failureOf(() => native.sendMessage(one, Buffer.alloc(0), [one]))).toBe("EINVAL of sendmsg");
  expect(native.receiveMessage(other, Buffer.alloc(1), 1)).toBeNull();
  closeAll(one, other);
});

it("descriptors of a message of 0 bytes, sent by someone else, are not lost", async () => {
  const [one, other] = native.seqpacketPair();
  const script =
    "import socket, array\n" +
    "s = socket.socket(fileno=0)\n" +
    "s.sendmsg([b''], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [1, 2]))])\n";
  const nothing = openSync("/dev/null", "r+");
  const child = native.spawn("/usr/bin/env", ["env", "python3", "-c", script], variables(), [
    one,
    nothing,
    2,
  ]);
  expect(await endOf(child)).toEqual({ code: 0, signal: null });
  const message = native.receiveMessage(other, Buffer.alloc(1), 10);
  expect([message?.length, message?.descriptors.length]).toEqual([0, 2]);
  closeAll(one, other, nothing, ...(message?.descriptors ?? []));
});

it("a peer that dies in the middle of a handoff is told to the sender, and what it left unread is closed", () => {
  const [one, other] = native.seqpacketPair();
  const [reader, writer] = native.pipe();
  native.sendMessage(one, X, [writer]);
  native.close(writer);
  native.close(other);
  // Closed with data unread: the first call is told of a reset (unix(7)), and SIGPIPE is never sent.
  expect(failureOf(() => native.sendMessage(one, X, [reader]))).toBe("ECONNRESET of sendmsg");
  expect(failureOf(() => native.sendMessage(one, X, [reader]))).toBe("EPIPE of sendmsg");
  expect(native.receiveMessage(one, Buffer.alloc(1), 0)).toMatchObject({ length: 0 });
  expect(readFileSync(reader, "utf8")).toBe(""); // End of file: the only writer was in the message.
  closeAll(one, reader);
});

it("a cycle, each end queued in the other and both closed, is collected by the kernel", async () => {
  const [reader, writer] = native.pipe();
  native.setNonblocking(reader, true);
  for (let i = 0; i < 50; i++) {
    const [one, other] = native.seqpacketPair();
    native.sendMessage(one, X, [one, writer]);
    native.sendMessage(other, X, [other, writer]);
    closeAll(one, other);
  }
  native.close(writer);
  // The pipe's writers are in those queues only: its end of file says that they are gone. The collector runs when a
  // unix socket is closed.
  await eventually("the collection", () => {
    closeAll(...native.seqpacketPair());
    try {
      return readFileSync(reader).length === 0;
    } catch {
      return false; // EAGAIN: a writer is left.
    }
  });
  native.close(reader);
});

it("an unprivileged sender with too many descriptors in flight gets ETOOMANYREFS, and can go on later", async () => {
  const { code, stdout, stderr } = await runScript(
    `
    const [one, other] = native.seqpacketPair();
    let failure = "none";
    for (let i = 0; i < 100 && failure === "none"; i++) {
      try { if (!native.sendMessage(one, Buffer.from("x"), Array(50).fill(one))) failure = "full"; }
      catch (error) { failure = error.code + " of " + error.syscall; }
    }
    console.log(failure);
    const report = new Int32Array(5 + 253);
    while (native.receiveMessage(other, Buffer.alloc(1), 253, report) >= 0) {
      for (const fd of report.subarray(5, 5 + report[4])) native.close(fd);
    }
    console.log(native.sendMessage(one, Buffer.from("x"), [one]));
    `,
    { wrapper: ["sh", "-c", 'ulimit -n 128 && exec "$@"', "sh"], uid: 65534, gid: 65534 },
  );
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: "ETOOMANYREFS of sendmsg\ntrue\n",
    stderr: "",
  });
});

it("pipes, memfds, plain files and pidfds pass like sockets", () => {
  const [one, other] = native.seqpacketPair();
  const [reader, writer] = native.pipe();
  const file = native.memfd("file");
  const plain = openSync("/etc/passwd", "r");
  const self = native.pidfdOpen(process.pid);
  native.sendMessage(one, X, [reader, writer, file, plain, self]);
  const message = native.receiveMessage(other, Buffer.alloc(1), SCM_MAX_FD);
  const [a = -1, b = -1, c = -1, d = -1, e = -1] = message?.descriptors ?? [];
  writeSync(b, "through the copy");
  closeAll(writer, b);
  expect(readFileSync(a, "utf8")).toBe("through the copy");
  expect(fstatSync(c).ino).toBe(fstatSync(file).ino);
  expect(fstatSync(d).ino).toBe(fstatSync(plain).ino);
  native.pidfdSendSignal(e, 0);
  closeAll(one, other, reader, file, plain, self, a, c, d, e);
});
