import type { ServerResponse } from "node:http";
import { text } from "node:stream/consumers";

import { expect, test } from "vitest";

import { CodedError } from "../../handoff/coded-error.ts";
import { serve } from "../admin-api/serving.ts";
import { root } from "../support/paths.ts";
import { start } from "../support/processes.ts";
import { handoffctl } from "./command-line.ts";

test("status fits 80 columns and names what serves", async () => {
  const { path } = await serve();
  const { code, stdout } = await handoffctl(path, "status");
  expect(code).toBe(0);
  for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  expect(stdout).toMatch(/web +tcp:0\.0\.0\.0:8080 +steered +0 +api\/3 +100 % +0\/4096/);
  expect(stdout).toMatch(/3 +41 +current +serving +100 % +17 +1\/1/);
});

test("ends without a word when nobody reads it any more", async () => {
  const { child, exit } = start(`${root}/bin/handoffctl`, ["--help"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout?.destroy();
  const said = child.stderr === null ? null : await text(child.stderr);
  expect([await exit, said]).toEqual([{ code: 141, signal: null }, ""]);
});

test.each([
  [["status"], "pid"],
  [["listeners"], "0"],
  [["history"], "deploys"],
  [["deploy", "api", "--detach"], "id"],
  [["restart", "api", "--detach"], "id"],
  [["rollback", "api", "--detach"], "id"],
  [["hold", "api"], "held"],
  [["scale", "api", "2"], "generations"],
  [["end", "api", "3"], "number"],
] as const)("%j with --json answers with one JSON document", async (args, field) => {
  const { path } = await serve();
  const { code, stdout, stderr } = await handoffctl(path, ...args, "--json");
  expect([code, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toHaveProperty(field);
});

test.each(["promote", "pause", "continue", "abort"])(
  "%s takes a service for its running deploy",
  async (verb) => {
    const { path, operations, client } = await serve();
    const { id } = await client.deploy("api");
    const { code, stdout } = await handoffctl(path, verb, "api");
    expect([code, stdout]).toEqual([0, expect.stringContaining(`deploy ${id} of api`)]);
    expect(operations.callers).toHaveLength(2);
    if (verb === "abort") return;
    expect((await handoffctl(path, verb, id, "--json")).code).toBe(0);
  },
);

test("hold says who holds and how many wait, and resume is a deploy", async () => {
  const { path, operations } = await serve();
  const held = await handoffctl(path, "hold", "api", "--idle");
  expect([held.code, held.stdout]).toEqual([
    0,
    expect.stringMatching(/^api is held for .* by root \(uid 0\), 0 conn/),
  ]);
  expect(operations.held?.idles).toBe(true);
  expect((await handoffctl(path, "status")).stdout).toContain("api is held for");
  expect((await handoffctl(path, "deploy", "api")).code).toBe(4);
  const resumed = await handoffctl(path, "resume", "api", "--detach");
  expect([resumed.code, resumed.stdout]).toEqual([0, expect.stringContaining("deploy d-1 of api, recreate")]);
  expect((await handoffctl(path, "resume", "api")).code).toBe(4);
});

test("scale says what was asked for and what there is", async () => {
  const { path } = await serve();
  const { code, stdout } = await handoffctl(path, "scale", "api", "3");
  expect([code, stdout]).toEqual([0, "api is to have 3 instances and has 3 now\n"]);
});

test("the steps of a canary are sent as they are written", async () => {
  const { path, operations } = await serve();
  const steps = ["--step", "5%,1m", "--step", "50%,pause"];
  await handoffctl(path, "deploy", "api", "--strategy", "canary", ...steps, "--detach");
  expect(operations.requests).toEqual([
    {
      strategy: "canary",
      steps: [
        { weight: "5%", for: "1m" },
        { weight: "50%", pause: true },
      ],
    },
  ]);
});

test("history shows how each deploy ended, and why", async () => {
  const { path, operations, client } = await serve();
  const { id } = await client.deploy("api", { version: "42" });
  operations.enter(id, "failed", { code: "DEPLOY_VERIFY_FAILED", message: "Generation 4 did not pass." });
  const { code, stdout } = await handoffctl(path, "history", "api");
  expect(code).toBe(0);
  expect(stdout).toMatch(/d-1 +api +42 +3 -> 4 +failed/);
  expect(stdout).toContain("d-1: Generation 4 did not pass.");
});

test("events shows what is kept and ends, a line each with --json", async () => {
  const { path, operations } = await serve();
  operations.events.append({ type: "instance.exited", message: "one \u001b[31mred" });
  operations.events.append({ type: "instance.exited", message: "two" });
  const { code, stdout } = await handoffctl(path, "events");
  expect(code).toBe(0);
  expect(stdout).toMatch(/instance\.exited +one +\[31mred\n.*two\n$/);
  const json = await handoffctl(path, "events", "--json");
  const messages = json.stdout
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { message: string }).message);
  expect(messages).toEqual(["one \u001b[31mred", "two"]);
});

test.each([
  ["an unknown verb", ["statsu"]],
  ["a missing argument", ["deploy"]],
  ["an unknown option", ["status", "--frob"]],
  ["an unknown strategy", ["deploy", "api", "--strategy", "green"]],
  ["options that exclude each other", ["deploy", "api", "--wait", "--detach"]],
  ["a version that cannot be one", ["deploy", "api", "../42"]],
  ["a service that is not there", ["deploy", "apo"]],
  ["a number of instances that is none", ["scale", "api", "many"]],
  ["no instances at all", ["scale", "api", "0"]],
  ["a step that is none", ["deploy", "api", "--step", "soon"]],
  ["a URL that is none", ["--url", "nonsense", "status"]],
  ["a generation that is no number", ["end", "api", "0"]],
  ["a generation that is not there", ["end", "api", "9"]],
  ["neither a deploy nor a service", ["abort", "apo"]],
])("%s is exit code 2 with a sentence on stderr and nothing on stdout", async (_title, args) => {
  const { path, operations } = await serve();
  const { code, stdout, stderr } = await handoffctl(path, ...args);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).not.toBe("");
  expect(operations.callers).toEqual([]);
});

test("an unknown service is answered with the one that was meant", async () => {
  const { path } = await serve();
  const { stderr } = await handoffctl(path, "restart", "apo");
  expect(stderr).toBe(
    'handoffctl: There is no service "apo". Did you mean "api"? The only service is api.\n',
  );
  expect((await handoffctl(path, "abort", "apo")).stderr).toBe(
    'handoffctl: "apo" is neither a deploy nor a service. Did you mean "api"? The only service is api.\n',
  );
});

test.each([
  ["a deploy that is running", 4, ["deploy", "api"]],
  ["no deploy that is running", 4, ["abort", "api"]],
] as const)("a conflict with %s is exit code %d", async (what, expected, args) => {
  const { path, client } = await serve();
  if (what.startsWith("a")) await client.deploy("api");
  expect((await handoffctl(path, ...args)).code).toBe(expected);
});

test("a failure of the daemon is exit code 1, and --json has the problem on stderr", async () => {
  const { path, operations } = await serve();
  operations.failure = new CodedError("LAUNCH_FAILED", "command not found: node");
  const { code, stdout, stderr } = await handoffctl(path, "deploy", "api", "--json");
  expect([code, stdout]).toEqual([1, ""]);
  expect(JSON.parse(stderr)).toMatchObject({
    code: "LAUNCH_FAILED",
    status: 500,
    detail: "command not found: node",
  });
});

test("a daemon that does not answer is exit code 3 and says where it was looked for", async () => {
  const { code, stderr } = await handoffctl("/nowhere/admin.sock", "status");
  expect([code, stderr]).toEqual([3, expect.stringContaining("/nowhere/admin.sock")]);
  const other = await handoffctl("/nowhere/admin.sock", "--socket", "/elsewhere.sock", "status");
  expect(other.stderr).toContain("/elsewhere.sock");
});

test("a refusal for lack of permission is exit code 5", async () => {
  const { path, door } = await serve();
  // In place of what would answer.
  door.server.removeAllListeners("request").on("request", (_request, response: ServerResponse) => {
    const problem = { code: "FORBIDDEN", status: 403, detail: "Not you.", title: "", type: "urn:x" };
    response.writeHead(403, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
  });
  expect((await handoffctl(path, "status")).code).toBe(5);
});
