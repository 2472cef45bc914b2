/** What is refused, and what is stopped by those who asked for it: nothing changes, and it is said why. */
import { existsSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/processes.ts";
import { NOTHING, Stage } from "../support/stage.ts";
import { lost } from "../support/load.ts";
import type { Deploy } from "../support/status.ts";

describe("a deploy that cannot begin changes nothing:", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open();
    return () => stage[Symbol.asyncDispose]();
  });

  /** Asks by handoffctl and by the API; both are refused, and no deploy comes of it. */
  async function refused(version: string): Promise<{ readonly code: string; readonly detail: string }> {
    const before = [await stage.daemon.service(), await stage.lastDeploy(), stage.daemon.processes()];
    await using load = await stage.load();
    const cli = await stage.daemon.cli("deploy", "api", version);
    const { status, json } = await stage.daemon.api("POST", "/v1/services/api/deploys", { version });
    const problem = json as { readonly code: string; readonly detail: string };
    const report = await load.stop();
    expect({ code: cli.code, status }).toEqual({ code: 2, status: 400 });
    expect(cli.stderr).toContain(problem.detail);
    expect({ ...lost(report), badStatus: report.badStatus }).toEqual({ ...NOTHING, badStatus: 0 });
    // Its open connections are a matter of the moment.
    const plain = (values: unknown[]) => JSON.stringify(values).replace(/"connections":\d+/g, "");
    const after = [await stage.daemon.service(), await stage.lastDeploy(), stage.daemon.processes()];
    expect(plain(after)).toBe(plain(before));
    return problem;
  }

  test("a version that is not installed", async () => {
    const { code, detail } = await refused("43");
    expect(code).toBe("DIRECTORY_MISSING");
    expect(detail).toContain(`the directory ${stage.path("43", "").slice(0, -1)} of api does not exist`);
    expect(detail).toContain("install this version");
  });

  test.each(["../good", "good/../good", "..", ".hidden", "a b", "x".repeat(129)])(
    'the version "%s", which could lead elsewhere',
    async (version) => {
      const { code, detail } = await refused(version);
      expect(code).toBe("REQUEST_INVALID");
      expect(detail).toMatch(/version/);
      expect(detail).toMatch(/at most 128 letters, digits, "\.", "_" and "-"/);
    },
  );

  test("two at once: exactly one runs, and the other is told by which it was refused", async () => {
    await using load = await stage.load();
    const ask = () => stage.daemon.cli("deploy", "api", "good");
    const [one, two] = await Promise.all([ask(), ask()]);
    const [won, other] = one.code === 0 ? [one, two] : [two, one];
    const { id, from, to } = await stage.lastDeploy();
    expect([won.code, other.code]).toEqual([0, 4]);
    expect(other.stderr).toMatch(
      new RegExp(`Deploy ${id} of api to generation ${to} is \\w+; nothing was started`),
    );
    expect(to).toBe((from ?? 0) + 1);
    expect((await stage.daemon.service()).current).toBe(to);
    expect(lost(await load.stop())).toEqual(NOTHING);
  });
});

describe("a deploy that is aborted", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open({ service: { verify: [{ command: ["./smoke"], timeout: "60s" }] } });
    return () => stage[Symbol.asyncDispose]();
  });

  /** Aborts `version` by handoffctl once it is in `phase` and `when` holds. */
  async function aborts(version: string, phase: string, more: readonly string[] = [], when = () => true) {
    let abort = { code: null as number | null, stdout: "", stderr: "" };
    const failure = await stage.fails(version, {
      phase: "aborted",
      arguments: more,
      meanwhile: async () => {
        const { id } = await stage.reaches(phase);
        await eventually(`the moment to abort while ${phase}`, when);
        abort = await stage.daemon.cli("abort", id);
      },
    });
    expect(abort).toMatchObject({ code: 0, stderr: "" });
    expect(failure.reason.code).toBe("DEPLOY_ABORTED");
    return failure;
  }

  test("while it starts ends its candidate", async () => {
    stage.install("never", { program: "ready-never.mjs" });
    const { deploy, reason } = await aborts("never", "starting");
    expect(deploy.phases.map(({ phase }) => phase)).toEqual(["starting", "aborted"]);
    expect(reason.message).toBe(
      `The deploy was aborted on request. Traffic stays on generation ${deploy.from ?? 0}.`,
    );
  });

  test("while it is verified ends its candidate and the command that verifies it", async () => {
    const mark = stage.path("tested", "began");
    stage.install("tested", { program: "polite.mjs", smoke: `touch ${mark}; sleep 60` });
    const { deploy, reason } = await aborts("tested", "verifying", [], () => existsSync(mark));
    expect(deploy.phases.map(({ phase }) => phase)).toEqual(["starting", "verifying", "aborted"]);
    expect(reason.message).toContain(`Traffic stays on generation ${deploy.from ?? 0}.`);
  });

  test("while it bakes gives its users back", async () => {
    const { deploy, reason } = await aborts("good", "baking", ["--bake", "60s"]);
    expect(deploy.phases.map(({ phase }) => phase)).toEqual([
      "starting",
      "verifying",
      "shifting",
      "baking",
      "rolling-back",
      "aborted",
    ]);
    expect(reason.message).toContain(`New connections go to generation ${deploy.from ?? 0} again.`);
  });

  test("while it drains is not: that is refused, and says how to go back", async () => {
    stage.install("stubborn", { program: "ignores-sigterm.mjs" });
    await stage.succeeds("stubborn");
    await using load = await stage.load();
    const deploying = stage.daemon.cli("deploy", "api", "good");
    const { id, to } = await stage.reaches("draining");
    const abort = await stage.daemon.cli("abort", id);
    const { status, json } = await stage.daemon.api("POST", `/v1/deploys/${id}/abort`, {});
    expect({ code: abort.code, status, problem: (json as { code: string }).code }).toEqual({
      code: 4,
      status: 409,
      problem: "DEPLOY_TOO_LATE",
    });
    expect(abort.stderr).toContain(`Deploy ${id} is done but for the drain: generation ${to} serves`);
    expect(abort.stderr).toContain("To go back, roll back api");
    expect((await deploying).code).toBe(0);
    expect((await stage.lastDeploy()) satisfies Deploy).toMatchObject({ id, phase: "succeeded" });
    expect(lost(await load.stop())).toEqual(NOTHING);
  });
});
