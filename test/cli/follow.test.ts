import { once } from "node:events";
import { unlink } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

import { expect, test } from "vitest";

import { serve, temporaryDirectory } from "../admin-api/serving.ts";
import { command } from "./command-line.ts";

test("a waiting deploy shows each phase when it begins, and ends with 0 when it succeeded", async () => {
  const { path, operations } = await serve();
  const { line, ended } = command("handoffctl", ["deploy", "api", "42"], path);
  expect(await line("generation")).toBe("deploy d-1 of api, blue-green, generation 3 -> 4 (version 42)");
  for (const phase of ["starting", "verifying", "baking", "draining"] as const) {
    if (phase !== "starting") operations.enter("d-1", phase);
    expect(await line(phase)).toMatch(/^ +\d+\.\d s {2}\w+$/);
    if (phase === "baking") await line("weight 100 %");
  }
  operations.events.append({ type: "instance.exited", deploy: "d-1", message: "instance 1 of api/3 ended" });
  await line("instance 1 of api/3 ended");
  operations.enter("d-1", "succeeded");
  const { code, stdout, stderr } = await ended;
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout.match(/starting|verifying|baking|draining|succeeded/g)).toEqual([
    "starting",
    "verifying",
    "baking",
    "draining",
    "succeeded",
  ]);
});

test("a deploy that fails ends with 1, and stderr says why and what still holds", async () => {
  const { path, operations } = await serve();
  const { line, ended } = command("handoffctl", ["deploy", "api"], path);
  await line("starting");
  operations.enter("d-1", "failed", { code: "DEPLOY_VERIFY_FAILED", message: "GET /healthz answered 500." });
  const { code, stderr } = await ended;
  expect([code, stderr]).toEqual([
    1,
    "deploy d-1 of api failed: GET /healthz answered 500.\n" +
      "Still true: generation 3 (version 41) of api is serving with 100 % of new connections.\n",
  ]);
});

test("with --json a waiting deploy prints its final record and nothing else", async () => {
  const { path, operations } = await serve();
  const { ended } = command("handoffctl", ["deploy", "api", "--json"], path);
  await new Promise<void>((resolve) => void operations.events.subscribe(() => resolve()));
  operations.enter("d-1", "succeeded");
  const { code, stdout } = await ended;
  expect([code, JSON.parse(stdout)]).toEqual([0, operations.getDeploy("d-1")]);
});

test.each([
  ["rollback of a baking deploy", ["rollback", "api"], "rolled-back", 0],
  ["rollback of a baking deploy that is aborted instead", ["rollback", "api"], "succeeded", 1],
  ["abort", ["abort", "api", "--wait"], "aborted", 0],
  ["promote", ["promote", "api", "--wait"], "succeeded", 0],
  ["promote of a deploy that goes back", ["promote", "api", "--wait"], "rolled-back", 1],
] as const)(
  "the exit code of a waiting %s is about what was asked for",
  async (_title, args, phase, expected) => {
    const { path, operations, client } = await serve();
    await client.deploy("api");
    operations.enter("d-1", "baking");
    const { line, ended } = command("handoffctl", args, path);
    await line("baking");
    if (operations.getDeploy("d-1").finishedAt === null) operations.enter("d-1", phase);
    expect((await ended).code).toBe(expected);
  },
);

test("a wait goes on where it was when the daemon comes back", async () => {
  const path = join(await temporaryDirectory(), "admin.sock");
  const first = await serve({ path });
  const { line, ended } = command("handoffctl", ["deploy", "api"], path);
  await line("starting");
  await first.server.close();
  await line("the connection to handoffd was lost; trying again for 10 s");
  first.operations.enter("d-1", "verifying");
  await unlink(path);
  await serve({ path, operations: first.operations });
  await line("connected to handoffd again");
  first.operations.enter("d-1", "succeeded");
  const { code, stdout } = await ended;
  expect(code).toBe(0);
  expect(stdout.match(/starting|verifying|succeeded/g)).toEqual(["starting", "verifying", "succeeded"]);
});

test("a daemon that comes back without the deploy is exit code 1", async () => {
  const path = join(await temporaryDirectory(), "admin.sock");
  const first = await serve({ path });
  const { line, ended } = command("handoffctl", ["deploy", "api"], path);
  await line("starting");
  await first.server.close();
  await unlink(path);
  await serve({ path });
  const { code, stderr } = await ended;
  expect([code, stderr]).toEqual([1, expect.stringContaining("does not know deploy d-1 any more")]);
});

test("a daemon that does not come back is exit code 3 with the way to look again", async () => {
  const { path, server } = await serve();
  const { line, ended } = command("handoffctl", ["deploy", "api"], path);
  await line("starting");
  await server.close();
  const { code, stderr } = await ended;
  expect(code).toBe(3);
  expect(stderr).toContain("What came of deploy d-1 is not known");
  expect(stderr).toContain("handoffctl history api");
}, 30_000);

test("an interrupted wait leaves the deploy alone and says how to stop it", async () => {
  const { path, operations } = await serve();
  const { process, line, ended } = command("handoffctl", ["deploy", "api"], path);
  await line("starting");
  process.kill("SIGINT");
  const { code, stderr } = await ended;
  expect([code, stderr]).toEqual([130, expect.stringContaining("handoffctl abort d-1")]);
  expect(operations.getDeploy("d-1").finishedAt).toBe(null);
});

test("who is interrupted before the answer is told where it will be known", async () => {
  const path = join(await temporaryDirectory(), "admin.sock");
  const silent = createServer().listen(path);
  await once(silent, "listening");
  const { process, ended } = command("handoffctl", ["deploy", "api"], path);
  await once(silent, "request");
  process.kill("SIGINT");
  const { code, stderr } = await ended;
  expect([code, stderr]).toEqual([130, expect.stringContaining("history api")]);
  silent.close();
});

test("events -f shows what happens from now on", async () => {
  const { path, operations } = await serve();
  operations.events.append({ type: "daemon.started", message: "kept from before" });
  const { process, line, ended } = command("handoffctl", ["events", "-f"], path);
  await line("kept from before");
  operations.events.append({ type: "instance.exited", message: "just now" });
  await line("just now");
  process.kill("SIGKILL");
  await ended;
});
