import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { root } from "../support/paths.ts";
import { command } from "./command-line.ts";

test("version prints the package's version", async () => {
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as { version: string };
  const { code, stdout } = await command("handoffd", ["version"]).ended;
  expect([code, stdout]).toEqual([0, `${version}\n`]);
});

test.each([
  ["no such verb", ["walk"], "unknown command"],
  ["a listener without a name", ["run", "--listen", "tcp:8080", "--", "true"], "Write NAME=ADDRESS"],
  ["a listener without a command", ["run", "--listen", "web=tcp:8080"], "put it after --"],
  ["a command without a listener", ["run", "--", "true"], "needs a listener"],
  [
    "a file and a command",
    ["run", "-c", "x", "--listen", "web=tcp:8080", "--", "true"],
    "exclude each other",
  ],
])("%s is exit code 2 with the reason on stderr", async (_title, args, reason) => {
  const { code, stdout, stderr } = await command("handoffd", args).ended;
  expect([code, stdout, stderr]).toEqual([2, "", expect.stringContaining(reason)]);
});
