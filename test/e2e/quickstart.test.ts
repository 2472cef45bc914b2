/** docs/quickstart.md, typed: every command of it, in the terminals that it says; what stands behind a # is in what comes out. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { expect, test } from "vitest";
import { root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { environment, eventually, killAll, processesOf, start, type Process } from "../support/processes.ts";
import type { Status } from "../support/status.ts";

const PAGE = readFileSync(`${root}/docs/quickstart.md`, "utf8");
const LINE_MS = 20_000;

/** A shell that is typed at. */
class Prompt {
  readonly process: Process;
  readonly said: string[] = [];
  #typed = 0;

  constructor(folder: string) {
    const path = [`${root}/bin`, dirname(process.execPath), process.env["PATH"] ?? ""].join(":");
    // A group of its own, as in a terminal, so that a Ctrl-C is for all that runs in it.
    const options = { cwd: folder, env: environment({ PATH: path }), detached: true };
    this.process = start("bash", [], options);
    for (const stream of [this.process.child.stdout, this.process.child.stderr])
      createInterface({ input: stream as Readable }).on("line", (line) => void this.said.push(line));
  }

  /** Resolves when the line is done. */
  async type(line: string): Promise<{ readonly code: number; readonly said: string }> {
    const from = this.said.length;
    this.#typed += 1;
    const mark = `end of line ${this.#typed}: `;
    this.begin(`{ ${line}\n} 2>&1; echo "${mark}$?"`);
    const end = await eventually(line, () => this.said.find((one) => one.startsWith(mark)), LINE_MS);
    return { code: Number(end.slice(mark.length)), said: this.said.slice(from, -1).join("\n") };
  }

  begin(line: string): void {
    this.process.child.stdin?.write(`${line}\n`);
  }

  interrupt(): void {
    process.kill(-this.process.pid, "SIGINT");
  }
}

interface Block {
  readonly language: string;
  readonly lines: readonly string[];
}

test("every command of the quickstart does what the page says, and the loop beside it loses nothing", async () => {
  const blocks = [...PAGE.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gmu)].map(
    ([, language = "", text = ""]): Block => ({ language, lines: text.trimEnd().split("\n") }),
  );
  const files = blocks.filter(({ language }) => language !== "bash");
  const shown = blocks.filter(({ language }) => language === "bash").map(({ lines }) => lines);
  const [folders = [], [check = "", run = ""] = [], ...rest] = shown;
  const parent = mkdtempSync(`${tmpdir()}/hd-quick-`);
  const [first, second, third] = [parent, `${parent}/hello`, `${parent}/hello`];
  const prompts: Prompt[] = [];
  const open = (folder: string): Prompt => {
    const prompt = new Prompt(folder);
    prompts.push(prompt);
    return prompt;
  };
  try {
    const one = open(first);
    for (const line of folders) expect(await one.type(line)).toEqual({ code: 0, said: "" });
    expect(files.map(({ language }) => language)).toEqual(["js", "yaml"]);
    for (const { language, lines } of files) {
      const name = { js: "server.mjs", yaml: "handoffd.yaml" }[language] ?? "";
      expect(PAGE).toContain(`\`${name}\`:\n\n\`\`\`${language}`);
      // The kernel's choice of a port: the page's may be in use.
      writeFileSync(
        `${second}/${name}`,
        lines.join("\n").replace('"tcp:127.0.0.1:8080"', '"tcp:127.0.0.1:0"'),
      );
    }
    expect(await one.type(check)).toMatchObject({ code: 0 });
    one.begin(run);

    const two = open(second);
    const status = async (): Promise<Status | undefined> => {
      const { code, said } = await two.type("handoffctl status --json");
      return code === 0 ? (JSON.parse(said) as Status) : undefined;
    };
    let port = 0;
    let loop: Prompt | null = null;
    for (const line of rest.flat()) {
      const [command = "", words = ""] = line.split(/ +# /u);
      const typed = command.replace(":8080/", `:${port}/`);
      if (typed.startsWith("while ")) {
        loop = open(third);
        loop.begin(typed);
        continue;
      }
      const isRefused = words.startsWith("fails: ");
      const { code, said } = await two.type(typed);
      expect({ line, code, said }).toMatchObject({ line, code: isRefused ? 1 : 0 });
      for (const word of words.replace("fails: ", "").split(", ")) expect(said, line).toContain(word);
      if (command.startsWith("export "))
        port = addressOf(await eventually("a daemon", status, LINE_MS), "web").port;
      // Whoever reads on takes longer than that.
      if (command.includes("--detach"))
        await eventually("a bake, or a pause", async () => {
          const deploy = (await status())?.services[0]?.deploy;
          return deploy?.phase === "baking" || deploy?.paused === true;
        });
    }

    expect(loop?.said.filter((line) => !/^version \d, pid \d+$/u.test(line))).toEqual([]);
    const versions = new Set(loop?.said.map((line) => line.split(",")[0]));
    expect([...versions].sort()).toEqual(["version 1", "version 2", "version 3", "version 4"]);
    one.interrupt();
    await eventually("the end of it all", () => loop?.said.some((line) => line.startsWith("curl: ")));
  } finally {
    for (const { process } of prompts) process.kill("SIGKILL");
    await killAll(() => processesOf(parent));
    rmSync(parent, { recursive: true, force: true });
  }
});
