/** Marks of connections that another process holds. That process is a child of the test, with sockets of the test's. */
import { openSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Marks } from "../../../daemon/sockets/marks.ts";
import { Remarks } from "../../../daemon/generation/remark.ts";
import { Descriptor } from "../../../handoff/descriptor.ts";
import { native, SO } from "../../../handoff/native.ts";
import { Process } from "../../../handoff/process.ts";
import { expectTableUnchanged } from "../../handoff/native-support.ts";

expectTableUnchanged();

const BASE = 0x4a_0000;
const THEIRS = BASE | 3;
const OURS = BASE | 4;

const marks = Marks.open(BASE, []);
let sockets: Descriptor[];
let process: Process;
let said: string[];
let remarks: Remarks;

beforeEach(() => {
  said = [];
  remarks = new Remarks(
    () => marks,
    ({ message }) => said.push(message),
  );
  const nothing = openSync("/dev/null", "r+");
  sockets = [THEIRS, THEIRS, 7].map((mark) => {
    const socket = new Descriptor(native.socket("inet", "stream", true));
    native.setOption(socket.fd, SO.SOL_SOCKET, SO.SO_MARK, mark);
    return socket;
  });
  process = Process.spawn(
    "/bin/sleep",
    ["sleep", "600"],
    [],
    [...[nothing, nothing, nothing], ...sockets.map(({ fd }) => fd)],
  );
  native.close(nothing);
});
afterEach(async () => {
  process.kill("SIGKILL");
  await process.exit();
  process.release();
  for (const socket of sockets) socket.close();
});

const markOf = (at: number): number => native.getOption(sockets[at]?.fd ?? -1, SO.SOL_SOCKET, SO.SO_MARK);
const cookieOf = (at: number): bigint => native.cookie(sockets[at]?.fd ?? -1);
/** The child's number of a socket. */
const held = (at: number, listener = "web") => ({ fd: 3 + at, cookie: cookieOf(at), listener });

it("a connection gets the mark of the listener that it was accepted on", () => {
  remarks.apply("api", process, [held(0), held(1, "adm")], (listener) =>
    listener === "web" ? OURS : BASE | 9,
  );
  expect([markOf(0), markOf(1)]).toEqual([OURS, BASE | 9]);
  expect([said, remarks.isRefusedBy("api")]).toEqual([[], false]);
});

describe("nothing is marked", () => {
  it("that bears no mark of the daemon's: it came from none of its listeners", () => {
    remarks.apply("api", process, [held(2)], () => OURS);
    expect(markOf(2)).toBe(7);
  });

  it("whose cookie is another one's: the number was used again", () => {
    remarks.apply("api", process, [{ ...held(0), cookie: cookieOf(1) }], () => OURS);
    expect(markOf(0)).toBe(THEIRS);
  });

  it("that is no socket, or is closed, and the others are", () => {
    const odd = [0, 3 + sockets.length].map((fd) => ({ fd, cookie: 1n, listener: "web" }));
    remarks.apply("api", process, [...odd, held(0)], () => OURS);
    expect(markOf(0)).toBe(OURS);
  });

  it("of a listener that has no mark, and where connections bear none", () => {
    remarks.apply("api", process, [held(0)], () => 0);
    new Remarks(
      () => null,
      () => expect.unreachable(),
    ).apply("api", process, [held(0)], () => OURS);
    expect(markOf(0)).toBe(THEIRS);
  });
});

it("a process that has ended is let be", async () => {
  process.kill("SIGKILL");
  await process.exit();
  remarks.apply("api", process, [held(0)], () => OURS);
  process.release();
  remarks.apply("api", process, [held(0)], () => OURS);
  expect([markOf(0), said]).toEqual([THEIRS, []]);
});

/** One whose descriptors cannot be had. */
function closed(code: string): { readonly process: Process; readonly asked: () => number } {
  let asked = 0;
  const duplicate = (): never => {
    asked++;
    throw Object.assign(new Error(`pidfd_getfd: ${code}`), { code });
  };
  return { process: { pid: 7, duplicate } as unknown as Process, asked: () => asked };
}

it("a process that may not be looked into is said once, and its connections stay as they are", () => {
  const { process: other, asked } = closed("EPERM");
  for (let times = 0; times < 3; times++) remarks.apply("api", other, [held(0), held(1)], () => OURS);
  expect([asked(), remarks.isRefusedBy("api"), markOf(0)]).toEqual([3, true, THEIRS]);
  expect(remarks.isRefusedBy("other")).toBe(false);
  expect(said).toEqual([expect.stringMatching(/cannot look into pid 7 \(.*EPERM\).*CAP_SYS_PTRACE/)]);
});

it("what is only too much for the moment refuses nothing", () => {
  remarks.apply("api", closed("EMFILE").process, [held(0)], () => OURS);
  expect([remarks.isRefusedBy("api"), said]).toEqual([false, []]);
  remarks.apply("api", process, [held(0)], () => OURS);
  expect(markOf(0)).toBe(OURS);
});
