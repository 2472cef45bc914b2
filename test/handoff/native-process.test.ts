/** native.spawn and what goes with it: pidfds, waiting, signals, other processes' descriptors. */
import { fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, expect, it } from "vitest";
import { native, type SpawnedProcess } from "../../handoff/native.ts";
import { root } from "../support/paths.ts";
import { childrenOf, eventually } from "../support/processes.ts";
import {
  closeAll,
  contentOf,
  endOf,
  expectTableUnchanged,
  failureOf,
  readable,
  variables,
} from "./native-support.ts";

expectTableUnchanged();

let nothing = -1;
let output = -1;
beforeEach(() => {
  nothing = openSync("/dev/null", "r+");
  output = native.memfd("output");
});
afterEach(() => closeAll(nothing, output));

/** Runs a program to its end and returns what it wrote. */
async function run(
  file: string,
  args: readonly string[],
  descriptors = [nothing, output, output],
): Promise<string> {
  const status = await endOf(native.spawn(file, [file, ...args], variables(), descriptors));
  expect(status).toEqual({ code: 0, signal: null });
  return contentOf(output);
}

/** A `cat` that runs until the returned writer is closed. */
function cat(): SpawnedProcess & { readonly writer: number } {
  const [reader, writer] = native.pipe();
  const child = native.spawn("/bin/cat", ["cat"], variables(), [reader, output, output]);
  native.close(reader);
  return { ...child, writer };
}

it("the child has its descriptors at 0, 1, … in order, and nothing else", async () => {
  // One that someone forgot to mark: it is not inherited all the same.
  const unmarked = native.memfd("unmarked");
  native.setCloexec(unmarked, false);
  const listed = await run("/bin/ls", ["-l", "/proc/self/fd"]);
  const found = [...listed.matchAll(/ (\d+) -> (\S+)/g)].map(
    ([, fd, target]) => `${fd ?? ""} ${target ?? ""}`,
  );
  expect(found.slice(0, 3)).toEqual(["0 /dev/null", "1 /memfd:output", "2 /memfd:output"]);
  expect(found).toHaveLength(4); // The fourth is the folder that ls reads.
  native.close(unmarked);
});

it("descriptors are placed right where sources and targets overlap: swaps, cycles, duplicates, in place", async () => {
  const files = Array.from({ length: 8 }, (_, i) => native.memfd(`file-${i}`));
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = files;
  const descriptors = Array.from({ length: Math.max(...files) + 1 }, () => nothing);
  descriptors[1] = output;
  const wanted = new Map([
    [a, b],
    [b, a],
    [c, d],
    [d, e],
    [e, c],
    [f, f],
    [g, a],
    [h, a],
    [0, h],
  ]);
  for (const [target, source] of wanted) descriptors[target] = source;
  const script = [...wanted.keys()].map((fd) => `readlink /proc/self/fd/${fd}`).join("; ");
  const seen = (await run("/bin/sh", ["-c", script], descriptors)).trim().split("\n");
  expect(seen).toEqual([...wanted.values()].map((fd) => `/memfd:file-${files.indexOf(fd)} (deleted)`));
  closeAll(...files);
});

it("the child begins with default signal dispositions, none blocked, in a session of its own", async () => {
  const handler = (): void => undefined;
  process.on("SIGUSR2", handler);
  const [status = "", stat = ""] = (await run("/bin/cat", ["/proc/self/status", "/proc/self/stat"])).split(
    /(?=^\d+ \(cat\))/m,
  );
  process.off("SIGUSR2", handler);
  for (const mask of ["SigBlk", "SigIgn", "SigCgt", "SigPnd"])
    expect(status).toContain(`${mask}:\t0000000000000000`);
  const fields = stat.split(" ");
  expect([fields[4], fields[5]]).toEqual([fields[0], fields[0]]); // Process group and session.
});

it("the child has exactly the environment and the arguments given", async () => {
  const status = await endOf(
    native.spawn("/usr/bin/env", ["env"], ["A=1", "B=zwei=2", "Ü=ü"], [nothing, output, output]),
  );
  expect(status).toEqual({ code: 0, signal: null });
  expect(contentOf(output)).toBe("A=1\nB=zwei=2\nÜ=ü\n");
  expect(await run("/bin/cat", ["/proc/self/cmdline"])).toContain("/bin/cat\0/proc/self/cmdline\0");
});

it("a blocking description stays blocking and the parent's CLOEXEC stays set", async () => {
  const { writer, ...child } = cat();
  expect(native.isNonblocking(output)).toBe(false);
  expect(readFileSync(`/proc/self/fdinfo/${output}`, "latin1")).toMatch(/flags:\s+02/);
  native.close(writer);
  await endOf(child);
});

it("a failing execve is told at once by its errno, and leaves no process and no pidfd", () => {
  const folder = mkdtempSync(`${tmpdir()}/native-`);
  writeFileSync(`${folder}/plain`, "not a program", { mode: 0o755 });
  writeFileSync(`${folder}/forbidden`, "#!/bin/sh\n", { mode: 0o644 });
  const before = childrenOf(process.pid);
  const attempt = (file: string, argument = ""): string =>
    failureOf(() => native.spawn(file, [file, argument], [], [nothing, output, output]));
  expect(attempt("/nonexistent/program")).toBe("ENOENT of execve");
  expect(attempt(`${folder}/plain`)).toBe("ENOEXEC of execve");
  expect(attempt(`${folder}/forbidden`)).toBe("EACCES of execve");
  expect(attempt(folder)).toBe("EACCES of execve");
  expect(attempt("/bin/true", "x".repeat(4 << 20))).toBe("E2BIG of execve");
  const bad = [nothing, 1_000_000];
  expect(failureOf(() => native.spawn("/bin/true", ["true"], [], bad))).toBe("EBADF of dup2");
  expect(childrenOf(process.pid)).toEqual(before);
  expect(
    readFileSync(`/proc/self/task/${process.pid}/children`, "latin1").trim().split(" ").filter(Boolean),
  ).toHaveLength(before.length);
  rmSync(folder, { recursive: true });
});

it("a child is waited for by its pidfd: running, ended and kept, reaped", async () => {
  const { pid, pidfd, writer } = cat();
  expect(native.waitPidfd(pidfd, false)).toBeNull();
  expect(native.waitPidfd(pidfd, true)).toBeNull();
  native.close(writer);
  await readable(pidfd);
  expect(native.waitPidfd(pidfd, false)).toEqual({ code: 0, signal: null });
  expect(native.waitPidfd(pidfd, false)).toEqual({ code: 0, signal: null });
  expect(readFileSync(`/proc/${pid}/stat`, "latin1")).toMatch(/\) Z /);
  process.kill(-pid, 0); // The zombie holds the number of its process group.
  expect(native.waitPidfd(pidfd, true)).toEqual({ code: 0, signal: null });
  expect(failureOf(() => native.waitPidfd(pidfd, true))).toBe("ECHILD of waitid");
  expect(failureOf(() => native.pidfdSendSignal(pidfd, 0))).toBe("ESRCH of pidfd_send_signal");
  native.close(pidfd);
  expect(failureOf(() => native.waitPidfd(pidfd, true))).toBe("EBADF of waitid");
});

it("an exit code and a deadly signal are told apart", async () => {
  const sh = (script: string): SpawnedProcess =>
    native.spawn("/bin/sh", ["sh", "-c", script], variables(), [nothing, output, output]);
  expect(await endOf(sh("exit 143"))).toEqual({ code: 143, signal: null });
  expect(await endOf(sh("kill -9 $$"))).toEqual({ code: null, signal: 9 });
  const { writer, ...child } = cat();
  native.pidfdSendSignal(child.pidfd, 15);
  expect(await endOf(child)).toEqual({ code: null, signal: 15 });
  native.close(writer);
});

it("a process that is not a child is watched by its pidfd but not waited for", () => {
  const parent = native.pidfdOpen(process.ppid);
  expect(failureOf(() => native.waitPidfd(parent, false))).toBe("ECHILD of waitid");
  native.pidfdSendSignal(parent, 0);
  expect(failureOf(() => native.pidfdSendSignal(parent, 4711))).toBe("EINVAL of pidfd_send_signal");
  native.close(parent);
  expect(failureOf(() => native.pidfdOpen(0))).toBe("EINVAL of pidfd_open");
  expect(failureOf(() => native.pidfdOpen(2 ** 30))).toBe("ESRCH of pidfd_open");
});

it("another process's descriptor is duplicated by its number there", async () => {
  const { writer, ...child } = cat();
  const copy = native.pidfdGetfd(child.pidfd, 1);
  expect(fstatSync(copy).ino).toBe(fstatSync(output).ino);
  expect(failureOf(() => native.pidfdGetfd(child.pidfd, 9))).toBe("EBADF of pidfd_getfd");
  closeAll(copy, writer);
  await endOf(child);
});

it("two hundred children at a time are each reaped once, beside those of child_process", async () => {
  const children = Array.from({ length: 200 }, (_, i) =>
    native.spawn("/bin/sh", ["sh", "-c", `exit ${i % 100}`], variables(), [nothing, nothing, nothing]),
  );
  const codes = await Promise.all(children.map(async (child) => (await endOf(child)).code));
  expect(codes).toEqual(children.map((_, i) => i % 100));
  await eventually("no child left", () => childrenOf(process.pid).length === 0);
});

/** Node with the addon: executes `next` in its own place. */
function replacing(next: string): string {
  const addon = `${root}/build/Release/handoff.node`;
  return `const native = require(${JSON.stringify(addon)}); const before = process.pid; ${next}`;
}

it("a program that is replaced keeps its pid and the descriptors that were named, and no others", async () => {
  const script = replacing(`
    const [kept, other] = [native.memfd("kept"), native.memfd("other")];
    const shell = "test $$ = " + before + " && ls -l /proc/self/fd && echo $GIVEN";
    native.replaceProgram("/bin/sh", ["sh", "-c", shell], ["PATH=/bin:/usr/bin", "GIVEN=yes"], [kept]);`);
  const said = await run(process.execPath, ["-e", script]);
  expect(said).toContain("memfd:kept");
  expect(said).not.toContain("memfd:other");
  expect(said).toMatch(/^yes$/m);
});

it("a program that cannot be replaced goes on, and its descriptors are closed to children as before", async () => {
  const script = replacing(`
    const kept = native.memfd("kept");
    try { native.replaceProgram("/none", ["none"], [], [kept]); } catch (error) { console.log(error.code, error.syscall); }
    try { native.replaceProgram("/bin/true", ["true"], [], [kept, 99]); } catch (error) { console.log(error.code, error.syscall); }
    const flags = (fd) => /flags:\\s+(\\d+)/.exec(require("fs").readFileSync("/proc/self/fdinfo/" + fd, "utf8"))[1];
    console.log([0, 1, 2, kept].every((fd) => parseInt(flags(fd), 8) & 0o2000000));`);
  const said = await run(process.execPath, ["-e", script]);
  expect(said.trim().split("\n")).toEqual(["ENOENT execve", "EBADF fcntl", "true"]);
});
