import { expect, test } from "vitest";

import { ApiError } from "../../admin-api/client.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import { handoffctl } from "../cli/command-line.ts";
import { serve } from "./serving.ts";

test("POST /v1/reload answers with what has changed, and the daemon learns who asked", async () => {
  const { client, operations } = await serve();
  expect(await client.reload()).toEqual(operations.reloaded);
  expect(operations.reloads).toEqual([expect.stringContaining("uid ")]);
});

test.each([
  ["CONFIG_INVALID", 400, 2],
  ["TOKENS_INVALID", 400, 2],
  ["RELOAD_REFUSED", 409, 4],
  ["RELOAD_IN_PROGRESS", 409, 4],
  ["RELOAD_WITHOUT_FILE", 409, 4],
])("a reload that fails with %s is a %i and exit code %i, and says all of it", async (code, status, exit) => {
  const { client, operations, path } = await serve();
  operations.failure = new CodedError(code, "x.yaml has 2 problems:\n  x.yaml:3:1: one\n  x.yaml:4:1: two");
  await expect(client.reload()).rejects.toMatchObject({ status, code });
  await expect(client.reload()).rejects.toBeInstanceOf(ApiError);
  const { code: left, stderr } = await handoffctl(path, "reload");
  expect(left).toBe(exit);
  expect(stderr).toMatch(/x\.yaml:3:1: one[^]*x\.yaml:4:1: two/u);
});

test("handoffctl reload says each thing in a line, and all of it with --json", async () => {
  const { path, operations } = await serve();
  const { code, stdout } = await handoffctl(path, "reload");
  expect(code).toBe(0);
  expect(stdout.trimEnd().split("\n")).toEqual([
    "listener ipc is added",
    "listener web has changed: backlog",
    "log.level has changed",
    "service old is removed, and drains",
    "service api takes over with its next deploy: command",
    "service api has changed: deploy",
    "marks comes into force when the daemon is started anew",
  ]);
  expect(JSON.parse((await handoffctl(path, "reload", "--json")).stdout)).toEqual(operations.reloaded);
});
