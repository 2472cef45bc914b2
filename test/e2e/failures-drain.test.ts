/** Old generations that do not go quietly: nobody who has connected waits in vain for an answer. */
import { writeFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { lost } from "../support/load.ts";
import { ask, type Answer, SilentClients } from "../support/net.ts";
import { alive, eventually, killOne, waitForExit } from "../support/processes.ts";
import { NOTHING, numberIn, Stage } from "../support/stage.ts";

describe("an old generation", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open();
    return () => stage[Symbol.asyncDispose]();
  });

  const slots = async () => (await stage.daemon.status()).listeners[0]?.slots ?? [];

  /** The pid of the current generation's instance. */
  async function instance(): Promise<number> {
    const { current, generations } = await stage.daemon.service();
    const pid = generations.find(({ number }) => number === current)?.instances[0]?.pid;
    if (pid === undefined) throw new Error("nobody serves");
    return pid;
  }

  test("that ignores SIGTERM is killed after drain.timeout, and what that cut is counted and told", async () => {
    stage.install("stubborn", { program: "ignores-sigterm.mjs" });
    await stage.succeeds("stubborn");
    const pid = await instance();
    using _idle = await SilentClients.open(3, stage.address.where);
    await stage.daemon.until(
      "three connections",
      ({ services }) => services[0]?.generations[0]?.connections === 3,
    );
    await using load = await stage.load();
    const before = await cutConnections(stage);
    const { stdout } = await stage.succeeds("good");
    const killed =
      /api\/\d+ did not end within 2000 ms of SIGTERM: 1 of its processes with 3 open connections were killed/;
    expect(stdout).toMatch(killed);
    expect(stage.logged("DRAIN_TIMEOUT").at(-1)).toMatch(killed);
    expect(stage.logged("DRAIN_TIMEOUT").at(-1)).toContain(
      "raise drain.timeout, or let the application end on SIGTERM",
    );
    expect((await cutConnections(stage)) - before).toBe(3);
    expect(alive(pid)).toBe(false);
    expect(lost(await load.stop())).toEqual(NOTHING);
  });

  test("that is stopped (SIGSTOP) answers those that it has, and the others are answered for it", async () => {
    const pid = await instance();
    const { current } = await stage.daemon.service();
    const slow = ask(stage.address.where, { path: "/slow?ms=1500" });
    await stage.daemon.until("a request that is under way", ({ services }) => {
      return services[0]?.generations[0]?.connections === 1;
    });
    await using load = await stage.load({ connections: 64, lateMs: 15_000 });
    process.kill(pid, "SIGSTOP");
    await eventually("a queue", async () => (await slots()).some(({ queue }) => (queue?.length ?? 0) >= 32));
    await stage.succeeds("good");
    expect(await slow).toMatchObject({ status: 200, generation: current });
    expect(lost(await load.stop())).toEqual(NOTHING);
    expect(stage.logged("DRAIN_UNSETTLED").at(-1)).toMatch(/left \d+ connections in its queue/);
    expect((await slots()).map(({ queue }) => queue?.length)).toEqual((await slots()).map(() => 0));
  });

  test("with handshakes that are never finished ends after drain.settle, and who finishes late is answered", async () => {
    stage.install("deferring", { program: "defers-accept.py" });
    await stage.succeeds("deferring");
    using late = await SilentClients.open(3, stage.address.where);
    await using load = await stage.load();
    const began = performance.now();
    await stage.succeeds("good");
    expect(performance.now() - began).toBeLessThan(5000);
    expect(stage.logged("DRAIN_UNSETTLED").at(-1)).toMatch(
      /left 0 connections in its queue and 3 handshakes unfinished for 500 ms/,
    );
    const before = await slots();

    // The slot is not given to a candidate, which those clients would meet before it has proved itself.
    const go = stage.path("unproved", "go");
    stage.install("unproved", { program: "polite.mjs", smoke: `until [ -e ${go} ]; do sleep 0.01; done` });
    const deploying = stage.daemon.cli("deploy", "api", "unproved");
    await stage.reaches("verifying");
    const answers = (await late.speak()).map((one) => (one as Answer).version ?? one);
    expect(answers).toEqual(["good", "good", "good"]);
    expect(await slots()).toHaveLength(before.length + 1);
    writeFileSync(go, "");
    expect((await deploying).code).toBe(0);
    expect(lost(await load.stop())).toEqual(NOTHING);
  });

  test("whose child stays in a session of its own leaves a slot that nobody gets until the child has ended", async () => {
    const file = stage.path("leaving", "child");
    stage.install("leaving", { program: "leaves-children.py", environment: { CHILD_PID_FILE: file } });
    await stage.succeeds("leaving");
    const child = await eventually("the child", () => numberIn(file));
    await using load = await stage.load();
    await stage.succeeds("good");
    const isHeld = async () => (await slots()).filter(({ held }) => held?.some(({ pid }) => pid === child));
    const [slot] = await eventually("a slot that is held", async () => {
      const found = await isHeld();
      return found.length === 1 ? found : undefined;
    });
    expect(alive(child)).toBe(true);
    expect(stage.logged("SLOT_HELD").at(-1)).toMatch(
      new RegExp(
        `slot ${slot?.index ?? -1} is still held by pid ${child} \\(python3[^)]*\\), which outlived its generation`,
      ),
    );
    expect((await stage.daemon.cli("listeners")).stdout).toContain(`held by ${child}`);
    for (let deploys = 0; deploys < 2; deploys++) {
      await stage.succeeds("good");
      expect((await slots())[slot?.index ?? -1]).toMatchObject({ generation: null, weight: 0 });
    }
    killOne(child);
    await waitForExit(child);
    await stage.succeeds("good");
    expect(await isHeld()).toEqual([]);
    expect(lost(await load.stop())).toEqual(NOTHING);
  });

  test("whose child stays in its process group is not done before drain.timeout, and the child is killed then", async () => {
    const file = stage.path("grouped", "child");
    stage.install("grouped", {
      program: "leaves-children.py",
      environment: { CHILD_PID_FILE: file, LEAVES: "group", BALLAST_MB: "512" },
    });
    await stage.succeeds("grouped");
    const child = await eventually("the child", () => numberIn(file));
    expect(alive(child)).toBe(true);
    await using load = await stage.load();
    const { stdout } = await stage.succeeds("good");
    expect(stdout).toMatch(/did not end within 2000 ms of SIGTERM: 1 of its processes .*were killed/);
    expect(alive(child)).toBe(false);
    expect((await slots()).flatMap(({ held }) => held ?? [])).toEqual([]);
    expect(lost(await load.stop())).toEqual(NOTHING);
  });

  test("leaves nothing behind: the daemon, its keeper and the current instance are all that runs", async () => {
    const { pid } = await stage.daemon.status();
    const expected = [pid, await instance()];
    await eventually("the end of everything else", () => stage.daemon.processes().length === 3);
    expect(stage.daemon.processes()).toEqual(expect.arrayContaining(expected));
    expect((await slots()).filter(({ generation }) => generation !== null)).toHaveLength(1);
  });
});

async function cutConnections(stage: Stage): Promise<number> {
  const { json } = await stage.daemon.api("GET", "/metrics");
  return Number(
    /^handoffd_drain_cut_connections_total\{service="api"\} (\d+)$/m.exec(String(json))?.[1] ?? 0,
  );
}
