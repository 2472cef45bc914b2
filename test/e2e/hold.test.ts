/** Hold and resume: new connections wait in the kernel's queue for as long as someone wants, and nobody is refused. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { ask, type Answer, type Where } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { NOTHING } from "../support/stage.ts";

const HOLD_MS = 5000;

async function held(daemon: Awaited<ReturnType<typeof startDaemon>>, waiting: number): Promise<void> {
  await daemon.until(`${waiting} that wait`, ({ services }) => services[0]?.held?.waiting === waiting);
}

/** They connect one after the other; each has its place in the queue when the next one comes. */
async function connectInTurn(
  daemon: Awaited<ReturnType<typeof startDaemon>>,
  where: Where,
  clients: number,
): Promise<Promise<Answer>[]> {
  const answers: Promise<Answer>[] = [];
  for (let client = 1; client <= clients; client++) {
    answers.push(ask(where, { path: `/turn?client=${client}`, timeoutMs: 60_000 }));
    await held(daemon, client);
  }
  return answers;
}

test.each(["tcp:127.0.0.1:0", "unix:{dir}/app.sock"])(
  "%s: 64 clients of a held service are all answered after the resume, first come first served",
  { timeout: 90_000 },
  async (address) => {
    const command = commandOf("takes-turns.mjs");
    await using daemon = await startDaemon({ config: oneService({ command }, address) });
    const { where } = addressOf(await daemon.status(), "web");
    expect((await daemon.cli("hold", "api")).code).toBe(0);
    await daemon.until("the end of what served", ({ services }) => {
      return services[0]?.state === "held" && services[0].generations.length === 1;
    });
    const answers = await connectInTurn(daemon, where, 64);
    const { stdout } = await daemon.cli("status");
    expect(stdout).toContain("held");
    expect(stdout).toContain("64");
    const resumed = await daemon.cli("resume", "api");
    expect(resumed).toMatchObject({ code: 0, stderr: "" });
    const turns = (await Promise.all(answers)).map(({ headers }) => Number(headers["x-turn"]));
    expect(turns).toEqual(turns.toSorted((a, b) => a - b));
    expect(new Set(turns).size).toBe(64);
    const service = await daemon.service();
    expect(service).toMatchObject({ state: "running", current: 2, candidate: null });
    expect(service.generations).toMatchObject([{ number: 2, version: "v0", state: "serving", weight: 1 }]);
  },
);

test(
  "a hold of 5 s under load refuses nobody, and a service that idles meanwhile keeps its connections",
  { timeout: 90_000 },
  async () => {
    await using daemon = await startDaemon({ config: oneService() });
    const { target } = addressOf(await daemon.status(), "web");
    for (const more of [[], ["--idle"]]) {
      await using fresh = startLoad({ target, mode: "new", connections: 64, lateMs: 20_000 });
      await using kept = startLoad({ target, mode: "keepalive", connections: 8, rate: 50, lateMs: 20_000 });
      await Promise.all([fresh.started, kept.settled]);
      expect((await daemon.cli("hold", "api", ...more)).code).toBe(0);
      await daemon.until("64 that wait", ({ services }) => (services[0]?.held?.waiting ?? 0) >= 64);
      const idles = more.length > 0;
      // The time is what is asked of it: nothing happens meanwhile that could be waited for.
      await delay(HOLD_MS);
      expect((await daemon.service()).held).toMatchObject({ idles });
      for (const verb of [
        ["deploy", "api", "v9"],
        ["restart", "api"],
        ["rollback", "api"],
        ["scale", "api", "2"],
      ]) {
        const refused = await daemon.cli(...verb);
        expect(refused.code).toBe(4);
        expect(refused.stderr).toContain("Resume it first");
      }
      expect((await daemon.cli("resume", "api")).code).toBe(0);
      expect((await daemon.cli("resume", "api")).stderr).toContain("is not held");
      const report = await fresh.stop();
      expect(lost(report)).toEqual(NOTHING);
      expect(report.latencyMs.max).toBeGreaterThan(HOLD_MS);
      const others = await kept.stop();
      expect(lost(others)).toEqual(NOTHING);
      // Those that have a connection notice nothing while what serves goes on; else they come back, and wait with the others.
      expect(others.latencyMs.max < HOLD_MS).toBe(idles);
    }
  },
);

test("a daemon that dies while it holds goes on holding", { timeout: 90_000 }, async () => {
  await using daemon = await startDaemon({ config: oneService() });
  const { where } = addressOf(await daemon.status(), "web");
  expect((await daemon.cli("hold", "api")).code).toBe(0);
  await daemon.until("a hold", ({ listeners }) => {
    return (
      listeners[0]?.slots.some(({ generation, weight }) => generation === "api/2" && weight === 1) === true
    );
  });
  const waiting = ask(where, { timeoutMs: 60_000 });
  await held(daemon, 1);
  await daemon.stop("SIGKILL");
  await daemon.restart("alive");
  // The proof of the slot has left a connection of its own behind the client's.
  await daemon.until("the one that waits", ({ services }) => (services[0]?.held?.waiting ?? 0) >= 1);
  expect((await daemon.service()).state).toBe("held");
  expect((await daemon.cli("resume", "api")).code).toBe(0);
  expect(await waiting).toMatchObject({ status: 200, generation: 2 });
});
