/** EXTEND_TIMEOUT_USEC= and STATUS= (sd_notify(3)): who needs longer says so, and is given it. */
import { expect, test } from "vitest";
import { type Config, startDaemon } from "../support/daemon.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf } from "../support/paths.ts";

const SLOW = { timeout: 120_000 };

/** drain.settle + drain.timeout, in milliseconds. */
const MOST = 5000;

/** `{version}` of the environment is not filled, so the release is chosen by the shell. */
function slow(environment: Config): Config {
  const become = commandOf("asks-for-time.py").join(" ");
  return oneService({
    command: ["/bin/sh", "-c", `case $HANDOFF_VERSION in v0) unset BOOT_MS;; esac; exec ${become}`],
    environment,
    ready: { by: "notify", timeout: "4s" },
    drain: { settle: "1s", timeout: "4s" },
    restart: { backoff: "50ms..100ms" },
  });
}

test(
  "a candidate that asks for the time it needs to start is waited for; one that does not is not",
  SLOW,
  async () => {
    await using daemon = await startDaemon({ config: slow({ BOOT_MS: "8000", ASKS: "start" }) });
    expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
    daemon.configure(slow({ BOOT_MS: "8000" }));
    expect((await daemon.api("POST", "/v1/reload")).status).toBe(200);
    expect(await daemon.deploy("v2")).toMatchObject({
      phase: "failed",
      reason: { code: "DEPLOY_READY_TIMEOUT" },
    });
  },
);

test(
  "a generation that asks for the time it needs to end is not killed, nor by the next daemon",
  SLOW,
  async () => {
    await using daemon = await startDaemon({ config: slow({ END_MS: "10000", ASKS: "end" }) });
    const pid = (await daemon.service()).generations[0]?.instances[0]?.pid;
    expect((await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" })).status).toBe(202);
    const until = await daemon.until("the extension", ({ services: [service] }) => {
      const draining = service?.generations.find(({ instances }) => instances[0]?.pid === pid)?.draining;
      const since = Date.parse(draining?.since ?? "");
      const deadline = Date.parse(draining?.deadline ?? "");
      return deadline - since > MOST && deadline;
    });
    daemon.kill("SIGKILL");
    await daemon.restart();
    await daemon.until("its end", ({ services: [service] }) => service?.generations.length === 1);
    // It was asked for more than once, and the last time by a process that the next daemon has adopted.
    expect(Date.now()).toBeGreaterThan(until);
    expect(daemon.log().filter(({ code }) => code === "DRAIN_TIMEOUT")).toEqual([]);
    expect(
      daemon
        .log()
        .some(({ msg, detail }) => msg === "instance.exited" && /killed|SIGKILL/u.test(String(detail))),
    ).toBe(false);
  },
);

test("one that asks for nothing is killed at drain.timeout", SLOW, async () => {
  await using daemon = await startDaemon({ config: slow({ END_MS: "60000" }) });
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded" });
  await daemon.until("its end", ({ services: [service] }) => service?.generations.length === 1);
  expect(daemon.log().filter(({ code }) => code === "DRAIN_TIMEOUT").length).toBe(1);
});

test("what an instance says of itself stands in the status", SLOW, async () => {
  await using daemon = await startDaemon({ config: slow({}) });
  const said = await daemon.until("its words", ({ services: [service] }) => {
    return service?.generations[0]?.instances.map((instance) => (instance as { status?: string }).status);
  });
  expect(said).toEqual(["serving"]);
});
