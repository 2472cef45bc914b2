import { expect, test } from "vitest";

import type { Diagnosis } from "../../admin-api/schemas.ts";
import { renderDiagnosis } from "../../cli/render-doctor.ts";
import { PLAIN } from "../../cli/look.ts";
import { serve } from "../admin-api/serving.ts";
import { command, handoffctl } from "./command-line.ts";

const diagnosis: Diagnosis = {
  seenBy: "daemon",
  healthy: false,
  findings: [
    { check: "kernel.pidfd", verdict: "ok", finding: "processes are watched by pidfd", fix: null },
    {
      check: "sysctl.somaxconn",
      verdict: "warning",
      finding:
        "net.core.somaxconn is 128: the kernel cuts the backlog of web to that, so a short stall refuses sooner",
      fix: "sysctl -w net.core.somaxconn=4096, and the same in /etc/sysctl.d/",
    },
    { check: "systemd.type", verdict: "problem", finding: "Type=simple", fix: "Type=notify" },
  ],
};

test("the worst comes first, each with what to do, in lines that fit", () => {
  expect(renderDiagnosis(diagnosis, false, { ...PLAIN, columns: 60 }).split("\n")).toEqual([
    "problem  systemd.type",
    "  Type=simple",
    "  fix: Type=notify",
    "",
    "warning  sysctl.somaxconn",
    "  net.core.somaxconn is 128: the kernel cuts the backlog of",
    "  web to that, so a short stall refuses sooner",
    "  fix: sysctl -w net.core.somaxconn=4096, and the same in",
    "  /etc/sysctl.d/",
    "",
    "1 problem, 1 warning, 1 fine, as the daemon sees it (--all",
    "shows each)",
  ]);
  expect(renderDiagnosis(diagnosis, true)).toContain(
    "ok       kernel.pidfd\n  processes are watched by pidfd\n",
  );
});

test("doctor asks the daemon, and a problem is exit code 1", async () => {
  const { path, operations } = await serve();
  expect(await handoffctl(path, "doctor")).toMatchObject({
    code: 0,
    stdout: "1 fine, as the daemon sees it (--all shows each)\n",
  });
  operations.diagnosis = diagnosis;
  const { code, stdout } = await handoffctl(path, "doctor", "--json");
  expect([code, JSON.parse(stdout)]).toEqual([1, diagnosis]);
});

test("where no daemon answers the host is looked at, with the configuration that is named", async () => {
  const { code, stdout, stderr } = await handoffctl(
    "/nowhere/admin.sock",
    "doctor",
    "-c",
    "/nowhere.yaml",
    "--json",
  );
  expect([code, stderr]).toEqual([
    1,
    expect.stringContaining("handoffd is not reachable at /nowhere/admin.sock"),
  ]);
  const seen = JSON.parse(stdout) as Diagnosis;
  expect([seen.seenBy, seen.findings[0]?.check, seen.findings[0]?.verdict]).toEqual([
    "host",
    "config.valid",
    "problem",
  ]);
  const own = await command("handoffd", ["doctor", "-c", "/nowhere.yaml"]).ended;
  expect([own.code, own.stdout]).toEqual([1, expect.stringContaining("no daemon was asked")]);
});

test("a daemon of another host that does not answer is exit code 3", async () => {
  expect((await handoffctl("/x", "--url", "http://127.0.0.1:1", "doctor")).code).toBe(3);
});
