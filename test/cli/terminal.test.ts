/** What a person sees in a terminal, drawn by the fake daemon's deploys. */
import { expect, test } from "vitest";

import { serve } from "../admin-api/serving.ts";
import { root } from "../support/paths.ts";
import { Terminal, type TerminalOptions } from "../support/terminal.ts";

async function handoffctl(
  socket: string,
  args: readonly string[],
  options: TerminalOptions = {},
): Promise<Terminal> {
  const environment = { HANDOFFD_SOCKET: socket, ...options.environment };
  return Terminal.open([`${root}/bin/handoffctl`, ...args], { ...options, environment });
}

test("a waiting deploy draws the phase that it is in, and leaves what happened behind", async () => {
  const { path, operations } = await serve();
  await using terminal = await handoffctl(path, ["deploy", "api", "42"]);
  await terminal.until(/^ +0\.0 s {2}starting\n {2}starting/mu);
  operations.enter("d-1", "baking");
  await terminal.until(/^ {2}baking *\n {2}generation 3 {2}█+ {2}100 % {2}17 connections$/mu);
  operations.events.append({ type: "instance.exited", deploy: "d-1", message: "instance 1 of api/4 ended" });
  await terminal.until(/instance 1 of api\/4 ended\n {2}baking/u);
  operations.enter("d-1", "succeeded");
  const after = await terminal.until("exit 0");
  expect(after.split("\n").map((line) => line.replace(/^ *[\d.]+ s/u, "").trimStart())).toEqual([
    "deploy d-1 of api, blue-green, generation 3 -> 4 (version 42)",
    "starting",
    "baking",
    "weight 100 %",
    "instance 1 of api/4 ended",
    "succeeded",
    "exit 0",
  ]);
});

test("Ctrl-C leaves the deploy alone, and what it says brings one back to it", async () => {
  const { path, operations } = await serve();
  await using terminal = await handoffctl("/nowhere", ["--socket", path, "deploy", "api"]);
  await terminal.until(/generation 3 {2}█/u);
  await terminal.press("C-c");
  const left = await terminal.until("exit 130");
  expect(left).not.toContain("connections");
  expect(left).toContain("not waiting any more; deploy d-1 goes on");
  expect(operations.getDeploy("d-1").finishedAt).toBe(null);
  const command = /to wait for it again: handoffctl (.+)/u.exec(left)?.[1]?.split(" ") ?? [];
  expect(command).toEqual(["--socket", path, "wait", "d-1"]);
  await using again = await handoffctl("/nowhere", command);
  await again.until(/generation 3 {2}█/u);
  operations.enter("d-1", "succeeded");
  await again.until("exit 0");
});

test.each([
  ["is dumb", { TERM: "dumb" }],
  ["has no name", { TERM: "" }],
])("a terminal that %s gets plain lines", async (_title, environment) => {
  const { path, operations } = await serve();
  await using terminal = await handoffctl(path, ["deploy", "api"], { environment, colours: true });
  await terminal.until("starting");
  operations.enter("d-1", "succeeded");
  const after = await terminal.until("exit 0");
  expect(after).not.toContain("connections");
  expect(after).not.toContain("\u001b");
});

test.each([
  ["colours repeat what the words say", {}, true],
  ["NO_COLOR means none", { NO_COLOR: "1" }, false],
])("%s", async (_title, environment, isColoured) => {
  const { path } = await serve();
  await using terminal = await handoffctl(path, ["status"], { environment, colours: true });
  const screen = await terminal.until("exit 0");
  expect(screen.includes("\u001b[32m")).toBe(isColoured);
  expect(screen.replace(/\u001b\[[\d;]*m/gu, "")).toContain("api is running");
});

test("status fits a narrow terminal", async () => {
  const { path } = await serve();
  await using terminal = await handoffctl(path, ["status"], { columns: 40 });
  const lines = (await terminal.until("exit 0")).split("\n");
  expect(lines).toContain("LISTENER  GENERATION  WEIGHT   QUEUE");
  expect(lines).toContain("  GENERATION  VERSION  STATE    WEIGHT");
});
