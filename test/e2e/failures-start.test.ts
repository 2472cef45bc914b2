/** Candidates that do not come up: whatever is wrong with them, only the one who deployed them notices. */
import { beforeAll, describe, expect, test } from "vitest";
import { commandOf } from "../support/paths.ts";
import { Stage } from "../support/stage.ts";

describe("a candidate that does not start leaves the current generation serving, and the reason", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open();
    return () => stage[Symbol.asyncDispose]();
  });

  test("names a command that is not there", async () => {
    stage.install("empty", { program: null });
    const { reason } = await stage.fails("empty");
    expect(reason.code).toBe("DEPLOY_CANDIDATE_FAILED");
    expect(reason.message).toMatch(/^Generation \d+ failed while starting: command not found: \.\/run;/);
    expect(reason.message).toMatch(/Traffic stays on generation \d+\.$/);
  });

  test("names the interpreter of a script that is there when it is the interpreter that is not", async () => {
    stage.install("no-interpreter", { program: "polite.mjs", interpreter: "/opt/none/sh" });
    const { reason } = await stage.fails("no-interpreter");
    expect(reason.code).toBe("DEPLOY_CANDIDATE_FAILED");
    expect(reason.message).toContain("/opt/none/sh, the interpreter of ./run");
  });

  test("says how to make a program executable that is not", async () => {
    stage.install("not-executable", { program: "polite.mjs", mode: 0o644 });
    const { reason } = await stage.fails("not-executable");
    expect(reason.code).toBe("DEPLOY_CANDIDATE_FAILED");
    expect(reason.message).toMatch(
      /cannot execute \.\/run: permission denied; make it executable \(chmod \+x\)/,
    );
    expect(reason.message).toMatch(/Traffic stays on generation \d+\.$/);
  });

  test("has the exit status of a program that exits at once", async () => {
    stage.install("exiting", { program: "exits-at-once.mjs" });
    const { reason } = await stage.fails("exiting");
    expect(reason.code).toBe("DEPLOY_CANDIDATE_EXITED");
    expect(reason.message).toMatch(/while starting: instance 1 of api\/\d+ \(pid \d+\) exited with status 3/);
    expect(reason.message).toMatch(/Traffic stays on generation \d+\.$/);
    expect(stage.daemon.output()).toContain("exits-at-once: cannot find my configuration");
  });

  test("says that a program which never gets ready accepts nothing from the socket that it was given", async () => {
    stage.install("never", { program: "ready-never.mjs" });
    const { reason, report } = await stage.fails("never");
    expect(reason.code).toBe("DEPLOY_READY_TIMEOUT");
    expect(reason.message).toMatch(
      /was not ready in time \(0 of 1 instances\): .* (for 2s|within 2000 ms): /,
    );
    expect(reason.message).toContain("it has the socket but accepts no connection from it");
    expect(reason.message).toContain("does it listen on descriptor 3 (LISTEN_FDS)?");
    expect(reason.message).toMatch(/Traffic stays on generation \d+\.$/);
    expect(Object.keys(report.generations)).toHaveLength(1);
  });

  test("names the address that a program listens on instead of ours", async () => {
    stage.install("elsewhere", { program: "binds-own-port.mjs" });
    const { reason } = await stage.fails("elsewhere");
    const address = lastPrinted(stage, /^listening on (127\.0\.0\.1:\d+)$/gm);
    expect(reason.code).toBe("DEPLOY_READY_TIMEOUT");
    expect(reason.message).toContain(`it listens on ${address} by itself`);
    expect(reason.message).toContain("make it listen on descriptor 3 (LISTEN_FDS)");
  });

  test("names npm start and exec when the program's child has lost the descriptors", async () => {
    stage.install("wrapped", {
      program: "loses-descriptors.mjs",
      environment: { LOSES: "listens-elsewhere" },
    });
    const { reason } = await stage.fails("wrapped");
    const address = lastPrinted(stage, /^listening on (127\.0\.0\.1:\d+)$/gm);
    expect(reason.code).toBe("DEPLOY_READY_TIMEOUT");
    expect(reason.message).toMatch(/its child \(pid \d+, \w+\) did not inherit the descriptors: npm start/);
    expect(reason.message).toContain("exec");
    expect(reason.message).toContain(`listens on ${address} by itself`);
  });

  test("does not stand in the way of the next good release", async () => {
    const { current } = await stage.daemon.service();
    await stage.succeeds("good");
    expect((await stage.daemon.service()).current).toBeGreaterThan(current ?? Infinity);
    const { slots } = (await stage.daemon.status()).listeners[0] ?? { slots: [] };
    expect(slots).toHaveLength(2);
  });
});

test("a candidate that is to say that it is ready and does not is ended, and the reason names READY=1", async () => {
  await using stage = await Stage.open({
    service: { ready: { by: "notify", timeout: "2s" } },
    good: "notify-by-child.mjs",
  });
  stage.install("silent", { program: "polite.mjs" });
  const { reason } = await stage.fails("silent");
  expect(reason.code).toBe("DEPLOY_READY_TIMEOUT");
  expect(reason.message).toContain("it did not say READY=1 on NOTIFY_SOCKET");
  await stage.succeeds("good");
});

test("the reason names npm start and exec when the wrapper ends because its child missed the descriptors", async () => {
  const [node, wrapper] = commandOf("loses-descriptors.mjs");
  await using stage = await Stage.open({
    service: {
      command: ["sh", "-c", `[ "$HANDOFF_VERSION" = good ] && exec ./run; exec ${node} ${wrapper}`],
    },
  });
  stage.install("npm-start", { program: null });
  const { reason } = await stage.fails("npm-start");
  expect(reason.code).toBe("DEPLOY_CANDIDATE_EXITED");
  expect(reason.message).toMatch(/exited with status 1/);
  expect(reason.message).toMatch(/npm start/);
  expect(reason.message).toMatch(/exec/);
});

/** The last thing that an instance has printed in this form. */
function lastPrinted(stage: Stage, form: RegExp): string {
  return [...stage.daemon.output().matchAll(form)].at(-1)?.[1] ?? "nothing";
}
