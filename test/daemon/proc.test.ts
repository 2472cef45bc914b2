import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { groupMembers, hasEnded } from "../../daemon/proc.ts";
import { end, eventually, start } from "../support/processes.ts";

const EXIT = { x64: 60, arm64: 93 }[process.arch as string];

/** Its first thread ends (exit(2), not exit_group), another one goes on. */
const LEADERLESS = `
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall(ctypes.c_long(${EXIT}), ctypes.c_long(0))
`;

test("a process whose first thread has ended is a member of its group until the last one has", async () => {
  const leaderless = start("python3", ["-c", LEADERLESS], { detached: true });
  const { pid } = leaderless;
  try {
    await eventually("the end of its first thread", () =>
      readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z "),
    );
    expect(await groupMembers(pid)).toEqual([pid]);
    expect(hasEnded(pid)).toBe(false);
  } finally {
    await end(leaderless);
  }
  expect(await groupMembers(pid)).toEqual([]);
  expect(hasEnded(pid)).toBe(true);
});
