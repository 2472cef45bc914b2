/** Candidates that come up and are not good: found before any user meets them, or while the way back is warm. */
import { writeFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/processes.ts";
import { Stage } from "../support/stage.ts";

describe("a candidate that does not pass its verification meets no user, and the reason", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open();
    return () => stage[Symbol.asyncDispose]();
  });

  /** It has failed in this phase, and only the current generation has answered. */
  async function failsGated(version: string, phase = "verifying"): Promise<string> {
    const { deploy, reason, report } = await stage.fails(version);
    expect(deploy.phases.map((each) => each.phase)).toEqual(
      phase === "starting" ? ["starting", "failed"] : ["starting", "verifying", "failed"],
    );
    expect(Object.keys(report.generations)).toEqual([String(deploy.from)]);
    expect(reason.message).toMatch(/Traffic stays on generation \d+\.$/);
    return `${reason.code}: ${reason.message}`;
  }

  test("has the status that was answered instead of the expected one", async () => {
    stage.install("ill", { program: "health-500.mjs" });
    expect(await failsGated("ill")).toMatch(
      /^DEPLOY_VERIFY_FAILED: .*GET \/healthz on listener web: answered 500 instead of 200 \(request 1 of 2\)/,
    );
  });

  test("says for how long a request was not answered", async () => {
    stage.install("hanging", { program: "health-hangs.mjs" });
    expect(await failsGated("hanging")).toMatch(
      /^DEPLOY_VERIFY_FAILED: .*GET \/healthz on listener web: no answer within 1000 ms \(request 1 of 2\)/,
    );
  });

  test("has the exit status of the command, and what it said", async () => {
    stage.install("smoking", { program: "polite.mjs", smoke: "echo 'the cache is cold' >&2; exit 7" });
    expect(await failsGated("smoking")).toMatch(
      /^DEPLOY_VERIFY_FAILED: .*the command \.\/smoke: ended with status 7; it said: the cache is cold/,
    );
  });

  test("names a command that is not there", async () => {
    stage.install("unproved", { program: "polite.mjs", smoke: null });
    expect(await failsGated("unproved")).toMatch(
      /^DEPLOY_VERIFY_FAILED: .*the command \.\/smoke: command not found: \.\/smoke/,
    );
  });

  test("says that a command was not done in time, and nothing of the command is left", async () => {
    stage.install("slow", { program: "polite.mjs", smoke: "echo counting; sleep 60" });
    expect(await failsGated("slow")).toMatch(
      /^DEPLOY_VERIFY_FAILED: .*the command \.\/smoke: was not done within 1000 ms; it said: counting/,
    );
  });

  test("has the exit status of a program that dies while it is verified", async () => {
    const when = stage.path("dying", "die");
    stage.install("dying", {
      program: "ready-then-dies.py",
      environment: { DIE_WHEN: when },
      smoke: `touch ${when}; sleep 60`,
    });
    expect(await failsGated("dying")).toMatch(
      /^DEPLOY_CANDIDATE_EXITED: .*while verifying: instance 1 of api\/\d+ \(pid \d+\) exited with status 3/,
    );
  });

  test("names a process that binds our address itself, beside us", async () => {
    stage.install("stranger", {
      program: "binds-our-port.py",
      environment: { BIND_ADDRESS: stage.address.target },
    });
    const said = await failsGated("stranger", "starting");
    expect(said).toMatch(
      new RegExp(`pid \\d+ \\(python3[^)]*\\) listens on ${stage.address.target} as well`),
    );
    expect(said).toContain("LISTEN_FDS");
  });

  test("has the exit of a candidate that dies while it bakes: its users go back, and all are answered", async () => {
    const when = stage.path("mortal", "die");
    stage.install("mortal", { program: "dies-when-idle.mjs", environment: { DIE_WHEN: when } });
    const { deploy, reason, report } = await stage.fails("mortal", {
      phase: "rolled-back",
      // Those in the dead process' queue wait for another one's boot.
      lateMs: 5_000,
      arguments: ["--bake", "60s"],
      meanwhile: async () => {
        await stage.reaches("baking");
        writeFileSync(when, "");
      },
    });
    expect(deploy.phases.map(({ phase }) => phase)).toEqual([
      "starting",
      "verifying",
      "shifting",
      "baking",
      "rolling-back",
      "rolled-back",
    ]);
    expect(reason.code).toBe("DEPLOY_CANDIDATE_EXITED");
    expect(reason.message).toMatch(/while baking: instance 1 of api\/\d+ \(pid \d+\) exited with status 3/);
    expect(reason.message).toContain(`New connections go to generation ${deploy.from ?? 0} again.`);
    expect(Object.keys(report.generations)).toContain(String(deploy.from));
  });

  test("does not stand in the way of the next good release", async () => {
    await stage.succeeds("good");
    const { slots } = (await stage.daemon.status()).listeners[0] ?? { slots: [] };
    expect(slots).toHaveLength(2);
  });
});

describe("a candidate that says READY=1 is asked to accept before any user meets it, and the reason", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open({
      service: { ready: { by: "notify", timeout: "3s" } },
      good: "notify-by-child.mjs",
    });
    return () => stage[Symbol.asyncDispose]();
  });

  test("names the address that it listens on instead of ours", async () => {
    stage.install("elsewhere", { program: "binds-own-port.mjs" });
    const { deploy, reason, report } = await stage.fails("elsewhere");
    const [address] = [...stage.daemon.output().matchAll(/^listening on (127\.0\.0\.1:\d+)$/gm)].map(
      ([, found]) => found ?? "nothing",
    );
    expect(deploy.phases.map(({ phase }) => phase)).toEqual(["starting", "verifying", "failed"]);
    expect(reason.message).toContain(`it listens on ${address ?? "nothing"} by itself`);
    expect(reason.message).toContain("make it listen on descriptor 3 (LISTEN_FDS)");
    expect(Object.keys(report.generations)).toEqual([String(deploy.from)]);
  });

  test("names a process that binds our address itself, beside us", async () => {
    stage.install("stranger", {
      program: "binds-our-port.py",
      environment: { BIND_ADDRESS: stage.address.target },
    });
    const { deploy, reason, report } = await stage.fails("stranger");
    expect(deploy.phases.map(({ phase }) => phase)).toEqual(["starting", "verifying", "failed"]);
    expect(reason.message).toMatch(
      new RegExp(`pid \\d+ \\(python3[^)]*\\) listens on ${stage.address.target}`),
    );
    expect(reason.message).toContain("SO_REUSEPORT");
    expect(reason.message).toContain("LISTEN_FDS");
    expect(Object.keys(report.generations)).toEqual([String(deploy.from)]);
    await eventually("an end of its process", async () => {
      const { slots } = (await stage.daemon.status()).listeners[0] ?? { slots: [] };
      return slots.filter(({ generation }) => generation !== null).length === 1;
    });
    await stage.succeeds("good");
  });
});
