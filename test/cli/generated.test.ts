/** What is made of the command trees: completions, manual pages, docs/cli.md. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";

import { type Command } from "commander";
import { expect, onTestFinished, test } from "vitest";

import { describeProgram } from "../../cli/command-tree.ts";
import { EXAMPLES } from "../../cli/examples.ts";
import { handoffctlProgram } from "../../cli/handoffctl.ts";
import { handoffdProgram } from "../../cli/handoffd.ts";
import { serve } from "../admin-api/serving.ts";
import { root } from "../support/paths.ts";
import { environment, start } from "../support/processes.ts";
import { handoffctl } from "./command-line.ts";

const asked: string[] = [];
const programs = [
  handoffctlProgram(() => () => () => {
    asked.push("handoffctl");
    return Promise.resolve();
  }),
  quiet(handoffdProgram(() => undefined)),
];

/** Parses as it does, and acts no more. */
function quiet(command: Command): Command {
  for (const inner of command.commands) quiet(inner);
  return command.commands.length > 0 ? command : command.action(() => void asked.push("handoffd"));
}

test("the committed files are what the command trees and the schema say", () => {
  const wrong = execFileSync(process.execPath, [`${root}/tools/generate-cli.mjs`], { encoding: "utf8" });
  expect(wrong, "run `npm run generate`").toBe("");
});

test("every verb of design and documentation is there, takes --json and has an example that is parsed", async () => {
  const verbs = programs.flatMap((program) =>
    describeProgram(program).verbs.map(({ name }) => `${program.name()} ${name}`),
  );
  expect(Object.keys(EXAMPLES).sort()).toEqual(
    verbs.filter((verb) => !verb.endsWith("handoffd completion")).sort(),
  );
  for (const [verb, examples] of Object.entries(EXAMPLES)) {
    for (const { line } of examples) {
      expect(line.startsWith(verb), line).toBe(true);
      const [name, ...words] = line.split(" ");
      const program = programs.find((each) => each.name() === name);
      asked.length = 0;
      if (!verb.endsWith("completion")) await program?.parseAsync(words, { from: "user" });
      expect(asked, line).toEqual(verb.endsWith("completion") ? [] : [name]);
    }
  }
  expect(
    describeProgram(programs[0] ?? handoffdProgram(() => undefined)).options.map(({ long }) => long),
  ).toContain("--json");
});

test.each(["handoffctl.1", "handoffd.8", "handoffd.yaml.5"])(
  "%s has nothing that mandoc warns of",
  (page) => {
    const file = `${root}/packaging/man/${page}`;
    expect(execFileSync("mandoc", ["-Tlint", "-Wwarning", file], { encoding: "utf8" })).toBe("");
    const text = execFileSync("mandoc", ["-Tascii", file], { encoding: "utf8" });
    expect(text).toContain("SEE ALSO".replaceAll(/[A-Z]/gu, (letter) => `${letter}\b${letter}`));
  },
);

/** What bash would offer for these words. */
async function bash(socket: string, words: readonly string[]): Promise<readonly string[]> {
  const script = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _$1; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return offered(socket, "bash", ["-c", script, "bash", completion(`${words[0] ?? ""}.bash`), ...words]);
}

async function fish(socket: string, words: readonly string[]): Promise<readonly string[]> {
  const file = completion(`${words[0] ?? ""}.fish`);
  const lines = await offered(socket, "fish", [
    "--no-config",
    "-c",
    `source ${file}; complete -C "${words.join(" ")}"`,
  ]);
  return lines.map((line) => line.split("\t")[0] ?? "");
}

function completion(file: string): string {
  return `${root}/packaging/completions/${file}`;
}

async function offered(socket: string, shell: string, args: readonly string[]): Promise<readonly string[]> {
  const home = mkdtempSync(`${tmpdir()}/shell-`);
  onTestFinished(() => rmSync(home, { recursive: true }));
  const env = environment({
    HANDOFFD_SOCKET: socket,
    HOME: home,
    PATH: `${root}/bin:${process.env["PATH"] ?? ""}`,
  });
  const { child, exit } = start(shell, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await Promise.all([exit, new Promise((resolve) => child.once("close", resolve))]);
  return text.split("\n").filter((line) => line !== "");
}

test.each([
  ["bash", bash],
  ["fish", fish],
] as const)("%s completes verbs, options, choices, and names that the daemon knows", async (_name, shell) => {
  const { path, client } = await serve();
  expect(await shell(path, ["handoffctl", "re"])).toEqual(
    expect.arrayContaining(["restart", "resume", "reload"]),
  );
  expect(await shell(path, ["handoffctl", "deploy", ""])).toEqual(["api"]);
  expect(await shell(path, ["handoffctl", "deploy", "api", "--stra"])).toEqual(["--strategy"]);
  expect(await shell(path, ["handoffctl", "deploy", "api", "--strategy", "can"])).toEqual(["canary"]);
  expect(await shell(path, ["handoffctl", "--json", "sta"])).toEqual(["status"]);
  expect(await shell(path, ["handoffd", "token", "n"])).toEqual(["new"]);
  await client.deploy("api");
  expect([...(await shell(path, ["handoffctl", "abort", ""]))].sort()).toEqual(["api", "d-1"]);
  expect(await shell("/nowhere", ["handoffctl", "deploy", ""])).toEqual([]);
});

test.each(["_handoffctl", "_handoffd"])("zsh can read %s, and has a function of that name", (file) => {
  const script = `source "$1"; whence -w ${file}`;
  // Outside of a completion its last line has nothing to complete.
  const said = execFileSync("zsh", ["-f", "-c", script, "zsh", completion(file)], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  expect(said).toBe(`${file}: function\n`);
});

test("completion prints the committed file", async () => {
  const { stdout } = await handoffctl("/nowhere", "completion", "zsh");
  expect(stdout).toBe(readFileSync(completion("_handoffctl"), "utf8"));
});

test.each([
  [["statsu"], "(Did you mean status?)"],
  [["status", "--jsn"], "(Did you mean --json?)"],
  [["deploy", "api", "--detatch"], "(Did you mean --detach?)"],
  [["restart", "apo"], 'Did you mean "api"?'],
])("%j is answered with what was meant", async (args, hint) => {
  const { path } = await serve();
  const { code, stderr } = await handoffctl(path, ...args);
  expect([code, stderr]).toEqual([2, expect.stringContaining(hint)]);
});
