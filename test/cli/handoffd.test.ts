import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { findToken, parseTokens } from "../../admin-api/tokens.ts";
import { temporaryDirectory } from "../admin-api/serving.ts";
import { root } from "../support/paths.ts";
import { command } from "./command-line.ts";

test("version says what belongs into a report, and --version the version alone", async () => {
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as { version: string };
  const alone = await command("handoffd", ["--version"]).ended;
  expect([alone.code, alone.stdout]).toEqual([0, `${version}\n`]);
  const { code, stdout } = await command("handoffd", ["version"]).ended;
  expect([code, stdout.split("\n").map((line) => line.split(/ +/u)[0])]).toEqual([
    0,
    ["handoffd", "node", "linux", "libc", "systemd", "addon", "keeper", "from", ""],
  ]);
  expect(stdout).toContain(`handoffd  ${version}\n`);
  expect(stdout).toContain(`node      ${process.version} `);
  const json = await command("handoffd", ["version", "--json"]).ended;
  expect(JSON.parse(json.stdout)).toMatchObject({ handoffd: version, addon: "loads", keeper: "is there" });
});

test("check --json has what is wrong, by line, or how much there is", async () => {
  const file = join(await temporaryDirectory(), "handoffd.yaml");
  writeFileSync(file, "listeners:\n  web: { adress: 8080 }\n");
  const wrong = await command("handoffd", ["check", "-c", file, "--json"]).ended;
  expect([wrong.code, JSON.parse(wrong.stdout)]).toEqual([
    2,
    expect.objectContaining({ valid: false, code: "CONFIG_INVALID" }),
  ]);
  expect((JSON.parse(wrong.stdout) as { problems: unknown[] }).problems[0]).toMatchObject({ line: 2 });
  writeFileSync(
    file,
    'listeners:\n  web: { address: "8080" }\nservices:\n  api: { command: [/bin/true], listeners: [web] }\n',
  );
  const right = await command("handoffd", ["check", "-c", file, "--json"]).ended;
  expect([right.code, JSON.parse(right.stdout)]).toMatchObject([
    0,
    { valid: true, file, listeners: 1, services: 1 },
  ]);
});

test("token new prints a token once, and appends the line that lets it in", async () => {
  const file = join(await temporaryDirectory(), "tokens");
  const args = ["token", "new", "ci", "--role", "deploy", "--service", "api", "--expires", "2027-01-31"];
  const { code, stdout } = await command("handoffd", [...args, "--file", file]).ended;
  expect(code).toBe(0);
  const [, token = "", line = ""] = /^token {2}(\S+)\nline {3}(.+)\n$/u.exec(stdout) ?? [];
  const text = readFileSync(file, "utf8");
  expect([text, statSync(file).mode & 0o777]).toEqual([`${line}\n`, 0o600]);
  expect(findToken(parseTokens(text, file), token)).toMatchObject({ name: "ci", services: ["api"] });
  const json = await command("handoffd", [...args, "--json"]).ended;
  expect(JSON.parse(json.stdout)).toEqual({
    token: expect.any(String) as string,
    line: expect.any(String) as string,
  });
});

test.each([
  ["a role that is none", ["token", "new", "ci", "--role", "boss"], "read, deploy or admin"],
  ["a name that is none", ["token", "new", "c/i", "--role", "read"], "the name must be"],
  ["no role", ["token", "new", "ci"], "--role"],
])("a token with %s is exit code 2", async (_title, args, reason) => {
  const { code, stdout, stderr } = await command("handoffd", args).ended;
  expect([code, stdout, stderr]).toEqual([2, "", expect.stringContaining(reason)]);
});

test.each([
  ["no such verb", ["walk"], "unknown command"],
  ["a verification without a service", ["verify"], "missing required argument 'service'"],
  ["no deploys", ["verify", "api", "--deploys", "0"], "a whole number from 1"],
  ["a duration that is none", ["verify", "api", "--late", "soon"], "soon"],
  ["a configuration that is not there", ["verify", "-c", "/nowhere.yaml", "api"], "cannot be read"],
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
