import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { native } from "../../handoff/native.ts";
import { Process, startTimeOf } from "../../handoff/process.ts";
import { alive, end, eventually, start } from "../support/processes.ts";
import { closeAll, expectTableUnchanged, variables } from "./native-support.ts";
import { constants } from "node:os";

expectTableUnchanged();

const started: Process[] = [];
afterEach(async () => {
  for (const one of started.splice(0)) {
    one.killGroup("SIGKILL");
    one.kill("SIGKILL");
    if (!one.exited) await one.exit();
    one.release();
  }
});

function run(script: string): Process {
  const one = Process.spawn("/bin/sh", ["sh", "-c", script], variables(), [0, 1, 2]);
  started.push(one);
  return one;
}

/** The state of a process in /proc, "Z" for a zombie; null when there is none. */
function isThere(pid: number): boolean {
  return readdirSync("/proc").includes(String(pid));
}

describe("the end of a process", () => {
  it.each([
    ["exit 0", { code: 0, signal: null }],
    ["exit 7", { code: 7, signal: null }],
    ["exit 255", { code: 255, signal: null }],
    ["kill -TERM $$", { code: null, signal: constants.signals.SIGTERM }],
    ["kill -KILL $$", { code: null, signal: constants.signals.SIGKILL }],
  ])("by %s is told as it was", async (script, status) => {
    expect(await run(script).exit()).toEqual(status);
  });

  it("is told to everyone who asks, before or after", async () => {
    const one = run("exit 3");
    const asked = [one.exit(), one.exit()];
    expect(await Promise.all(asked)).toEqual([
      { code: 3, signal: null },
      { code: 3, signal: null },
    ]);
    let now = null as number | null;
    one.onExit(({ code }) => (now = code));
    expect([now, one.exited]).toEqual([3, true]);
  });

  it("is each process' own when a hundred end at once", async () => {
    const all = Array.from({ length: 100 }, (_, i) => run(`exit ${i}`));
    expect((await Promise.all(all.map((one) => one.exit()))).map(({ code }) => code)).toEqual(
      all.map((_, i) => i),
    );
  });

  it("leaves its pid, and so its group's number, to nobody else until it is released", async () => {
    const one = run("exit 0");
    await one.exit();
    expect([isThere(one.pid), alive(one.pid)]).toEqual([true, false]);
    one.release();
    expect(isThere(one.pid)).toBe(false);
    one.release();
  });

  it("of one that nobody waits for any more is followed by its release", async () => {
    const one = run("exit 0");
    one.abandon();
    await one.exit();
    expect(isThere(one.pid)).toBe(false);
    const other = run("exit 0");
    await other.exit();
    other.abandon();
    expect(isThere(other.pid)).toBe(false);
  });
});

describe("a signal", () => {
  it("reaches a process that runs, and is told to have reached nobody afterwards", async () => {
    const one = run("exec sleep 1000");
    expect(one.kill("SIGTERM")).toBe(true);
    await one.exit();
    one.release();
    expect([one.kill("SIGTERM"), one.killGroup("SIGTERM")]).toEqual([false, false]);
  });

  it("to the group reaches its children, also when the leader has ended", async () => {
    const one = run("sleep 1000 & exit 0");
    await one.exit();
    expect(one.killGroup(0)).toBe(true);
    const members = (): number[] =>
      readdirSync("/proc")
        .map(Number)
        .filter((pid) => pid > 0 && alive(pid) && groupOf(pid) === one.pid);
    expect(members()).toHaveLength(1);
    expect(one.killGroup("SIGKILL")).toBe(true);
    await eventually("the end of the group", () => members().length === 0);
  });
});

function groupOf(pid: number): number | null {
  const fields = statOf(pid);
  return fields === null ? null : Number(fields[2]);
}

function statOf(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

describe("a process that we did not start", () => {
  it("is adopted and watched, and its end is told without a status", async () => {
    const stranger = start("/bin/sh", ["-c", "sleep 1000 & wait"]);
    const child = await eventually("the child", () =>
      readdirSync("/proc")
        .map(Number)
        .find((pid) => pid > 0 && statOf(pid)?.[1] === String(stranger.pid)),
    );
    const adopted = Process.adopt(child, startTimeOf(child) ?? "");
    if (adopted === null) throw new Error("it was not adopted");
    expect([adopted.pid, adopted.exited, adopted.kill("SIGKILL")]).toEqual([child, false, true]);
    expect(await adopted.exit()).toEqual({ code: null, signal: null });
    adopted.release();
    await end(stranger);
  });

  it("is not adopted when another one has its pid by now, nor when it is gone", async () => {
    const stranger = start("sleep", ["1000"]);
    const since = startTimeOf(stranger.pid) ?? "";
    expect(Process.adopt(stranger.pid, String(Number(since) - 1))).toBeNull();
    expect(Process.adopt(stranger.pid, "")).toBeNull();
    await end(stranger);
    expect(Process.adopt(stranger.pid, since)).toBeNull();
    expect(startTimeOf(stranger.pid)).toBeNull();
  });

  it("is known by its start although its name looks like the rest of a line in /proc", async () => {
    const named = run(
      `printf '%s' 'a) Z 1 1 1' > /proc/self/comm; printf '%s' 'a) Z 1 1' > /proc/$$/comm; read x`,
    );
    await eventually(
      "the name",
      () => readFileSync(`/proc/${named.pid}/comm`, "utf8").startsWith("a) Z") || named.exited,
    );
    expect(startTimeOf(named.pid)).toBe(named.startTime);
  });
});

describe("a process that cannot be watched", () => {
  const RealPoll = native.Poll;
  afterEach(() => {
    native.Poll = RealPoll;
    vi.restoreAllMocks();
  });

  const limitDescriptors = (soft: string): void => {
    execFileSync("prlimit", ["--pid", `${process.pid}`, `--nofile=${soft}:`]);
  };

  /** Spawns in vain: says why, and whether the process is there nevertheless. */
  function spawnInVain(): { why: unknown; left: boolean } {
    const spawned = vi.spyOn(native, "spawn");
    let why: unknown = null;
    try {
      Process.spawn("/bin/sleep", ["sleep", "1000"], variables(), [0, 1, 2]);
    } catch (error) {
      why = error;
    }
    const [result] = spawned.mock.results;
    if (result?.type !== "return") throw new Error("it was not even started", { cause: why });
    return { why, left: isThere(result.value.pid) };
  }

  class NoPoll extends RealPoll {
    constructor(fd: number, onReadable: () => void) {
      super(fd, onReadable);
      this.close();
      throw new Error("in vain");
    }
  }

  class IdlePoll extends RealPoll {
    override start(): void {
      throw new Error("in vain");
    }
  }

  it.each([
    ["there is no watcher", NoPoll],
    ["the watcher cannot begin", IdlePoll],
  ])("because %s is an error, and nothing is left of it", (_, Poll) => {
    native.Poll = Poll;
    expect(spawnInVain()).toMatchObject({ why: { message: "in vain" }, left: false });
  });

  it("because its watcher cannot begin leaves no watcher that would keep us from ending", () => {
    native.Poll = IdlePoll;
    const closed = vi.spyOn(IdlePoll.prototype, "close");
    spawnInVain();
    expect(closed).toHaveBeenCalledOnce();
  });

  it("because there is no descriptor to read its start time with is an error, and nothing is left of it", () => {
    const limit = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? "";
    limitDescriptors("400");
    const filled: number[] = [];
    const fill = (): void => {
      for (;;) filled.push(native.duplicate(0));
    };
    expect(fill).toThrow("EMFILE");
    native.close(filled.pop() ?? -1); // For the pidfd.
    const outcome = spawnInVain();
    closeAll(...filled);
    limitDescriptors(limit);
    expect(outcome).toMatchObject({ why: { code: "EMFILE", syscall: "open" }, left: false });
  });

  it("that we did not start is let go, and runs on", async () => {
    const stranger = start("sleep", ["1000"]);
    const since = startTimeOf(stranger.pid) ?? "";
    native.Poll = NoPoll;
    expect(() => Process.adopt(stranger.pid, since)).toThrow("in vain");
    expect(alive(stranger.pid)).toBe(true);
    await end(stranger);
  });
});

it("a program that cannot be executed is an error, and nothing is left of it", () => {
  expect(() => Process.spawn("/nowhere/program", ["program"], [], [0, 1, 2])).toThrow("ENOENT");
});
