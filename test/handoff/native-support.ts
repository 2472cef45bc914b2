/** What the tests of the addon share: the descriptor table as a fact to compare, and small programs around the addon. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import type { SpawnOptions } from "node:child_process";
import { afterEach, beforeEach } from "vitest";
import { native, type ExitStatus, type SpawnedProcess } from "../../handoff/native.ts";
import { root } from "../support/paths.ts";
import { environment, eventually, start, type Exit } from "../support/processes.ts";

export const addon = `${root}/build/Release/handoff.node`;

/** Number and target of each descriptor of this process. */
export function table(): string {
  return readdirSync("/proc/self/fd")
    .map(Number)
    .sort((a, b) => a - b)
    .flatMap((fd) => {
      try {
        return [`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`];
      } catch {
        return []; // The one through which the folder was read.
      }
    })
    .join("\n");
}

/** Every test of the file leaves the descriptor table as it found it. */
export function expectTableUnchanged(): void {
  let before = "";
  beforeEach(() => {
    before = table();
  });
  afterEach(async () => {
    // Node closes the pipes of a child process in later turns of the loop.
    await eventually("the descriptor table to be as before", () => table() === before, 3000).catch(() => {
      throw new Error(`descriptors before:\n${before}\nand after:\n${table()}`);
    });
  });
}

/** The error that `call` throws, as the addon promises it. */
export function failure(call: () => unknown): {
  code: string;
  syscall: string;
  errno: number;
  message: string;
} {
  try {
    call();
  } catch (error) {
    if (error instanceof Error && "code" in error && "syscall" in error && "errno" in error) {
      return {
        code: String(error.code),
        syscall: String(error.syscall),
        errno: Number(error.errno),
        message: error.message,
      };
    }
    throw error;
  }
  throw new Error("it did not fail");
}

/** "EBADF of close": what most tests ask of an error. */
export function failureOf(call: () => unknown): string {
  const { code, syscall } = failure(call);
  return `${code} of ${syscall}`;
}

export function closeAll(...descriptors: readonly number[]): void {
  for (const fd of descriptors) native.close(fd);
}

/** Resolves when `fd` is readable or hung up. */
export async function readable(fd: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const poll = new native.Poll(fd, () => {
      poll.close();
      resolve();
    });
    poll.start();
  });
}

/** Waits for the end of a natively spawned child, reaps it and closes the pidfd. */
export async function endOf(child: SpawnedProcess): Promise<ExitStatus> {
  await readable(child.pidfd);
  const status = native.waitPidfd(child.pidfd, true);
  native.close(child.pidfd);
  if (status === null) throw new Error("its pidfd was readable, and yet it runs");
  return status;
}

/** `environment()` as execve takes it. */
export function variables(extra: Readonly<Record<string, string>> = {}): string[] {
  return Object.entries(environment(extra)).map(([name, value]) => `${name}=${value}`);
}

/** The next message of a channel; throws when the peer has gone. Its descriptors are the caller's. */
export async function receive(
  fd: number,
  maxDescriptors = 253,
): Promise<{ bytes: Uint8Array; descriptors: readonly number[]; descriptorsTruncated: boolean }> {
  const buffer = new Uint8Array(256 * 1024);
  for (;;) {
    const message = native.receiveMessage(fd, buffer, maxDescriptors);
    if (message !== null) {
      const { length, descriptors, descriptorsTruncated } = message;
      if (length === 0) throw new Error("the peer has gone");
      return { bytes: buffer.slice(0, length), descriptors, descriptorsTruncated };
    }
    await readable(fd);
  }
}

/** A file's content from its beginning, through a descriptor that has been written to. */
export function contentOf(fd: number): string {
  return readFileSync(`/proc/self/fd/${fd}`, "utf8");
}

/** Runs JavaScript in a Node of its own, where `native` is the addon. */
export async function runScript(
  code: string,
  options: SpawnOptions & { readonly wrapper?: readonly string[] } = {},
): Promise<Exit & { stdout: string; stderr: string }> {
  const { wrapper = [], ...rest } = options;
  const script = `const native = require(${JSON.stringify(addon)});\n${code}`;
  const [file, ...args] = [...wrapper, process.execPath, "-e", script];
  const child = start(file, args, { ...rest, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, exit] = await Promise.all([
    text(child.child.stdout as Readable),
    text(child.child.stderr as Readable),
    child.exit,
  ]);
  return { ...exit, stdout, stderr };
}
