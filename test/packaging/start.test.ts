import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const START = fileURLToPath(new URL("../../tools/start.mjs", import.meta.url));

/** Stands in for the daemon: what `npm start` itself does is looked at here. It is ready at the second question. */
const STAND_IN = `#!${process.execPath}
const { createServer } = require("node:http");
if (process.env.FAILS) process.exit(2);
let asked = 0;
createServer((request, response) => {
  asked += 1;
  response.statusCode = request.url === "/readyz" && asked > 1 ? 200 : 503;
  response.end();
}).listen(process.env.RUNTIME_DIRECTORY + "/admin.sock");
let told = 0;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    told += 1;
    console.log("told " + signal + " " + told + " by " + process.argv.slice(2).join(" "));
    setTimeout(() => process.exit(7), 200);
  });
}
`;

describe("npm start", () => {
  let checkout = "";
  let child: ChildProcess | null = null;

  beforeEach(() => {
    checkout = mkdtempSync(join(tmpdir(), "handoffd-start-"));
    for (const folder of ["tools", "bin", "dist/cli", "build/Release", "tmp"]) {
      mkdirSync(join(checkout, folder), { recursive: true });
    }
    copyFileSync(START, join(checkout, "tools/start.mjs"));
    for (const built of ["dist/cli/handoffd.js", "build/Release/handoff.node"]) {
      writeFileSync(join(checkout, built), "");
    }
    writeFileSync(join(checkout, "bin/handoffd"), STAND_IN);
    chmodSync(join(checkout, "bin/handoffd"), 0o755);
  });

  afterEach(async () => {
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    }
    child = null;
    rmSync(checkout, { recursive: true });
  });

  function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return { PATH: process.env["PATH"], TMPDIR: join(checkout, "tmp"), ...more };
  }

  it("waits until the daemon is ready, says what to try, passes a Ctrl-C on once and ends as the daemon does", async () => {
    const started = spawn(process.execPath, [join(checkout, "tools/start.mjs")], {
      env: environment(),
      stdio: ["ignore", "pipe", "inherit"],
    });
    child = started;
    const exited = once(started, "exit");
    const lines: string[] = [];
    for await (const line of createInterface({ input: started.stdout })) {
      lines.push(line);
      if (!line.includes("Ctrl-C")) continue;
      // A terminal's Ctrl-C arrives twice under npm: from the terminal, and passed on by npm.
      started.kill("SIGINT");
      started.kill("SIGINT");
    }
    const said = lines.join("\n");
    expect(said).toContain("curl http://127.0.0.1:8080/");
    expect(said).toMatch(/export HANDOFFD_SOCKET=\S+\/run\/admin\.sock$/m);
    expect(said).toContain("bin/handoffctl deploy web 2");
    expect(lines.filter((line) => line.startsWith("told"))).toEqual([
      "told SIGINT 1 by run -c examples/quickstart/handoffd.yaml",
    ]);
    expect(await exited).toEqual([7, null]);
  });

  it("starts another example in a folder of its own, with what runs beside it and ends with it", async () => {
    const beside = join(checkout, "bin/prometheus");
    writeFileSync(
      beside,
      `#!/bin/sh\ntrap 'echo prometheus ends; exit' TERM\necho "$@"\nwhile sleep 0.05; do :; done\n`,
    );
    chmodSync(beside, 0o755);
    const started = spawn(process.execPath, [join(checkout, "tools/start.mjs"), "canary"], {
      env: environment({ PATH: `${join(checkout, "bin")}:${process.env["PATH"] ?? ""}` }),
      stdio: ["ignore", "pipe", "inherit"],
    });
    child = started;
    const lines: string[] = [];
    for await (const line of createInterface({ input: started.stdout })) {
      lines.push(line);
      if (line.includes("Ctrl-C")) started.kill("SIGINT");
    }
    const said = lines.join("\n");
    expect(said).toContain("--config.file=examples/canary/prometheus.yml");
    expect(said).toMatch(/export HANDOFFD_SOCKET=\S+\/handoffd-canary-\d+\/run\/admin\.sock$/m);
    expect(said).toContain("told SIGINT 1 by run -c examples/canary/handoffd.yaml");
    expect(lines.at(-1)).toBe("prometheus ends");
  });

  it("names the examples that there are", () => {
    const { status, stderr } = spawnSync(process.execPath, [join(checkout, "tools/start.mjs"), "nope"], {
      env: environment(),
      encoding: "utf8",
    });
    expect(status).toBe(1);
    expect(stderr).toBe('there is no example "nope": quickstart, chat, canary\n');
  });

  it("ends with the daemon's own status when the daemon does not start", () => {
    const { status, stdout } = spawnSync(process.execPath, [join(checkout, "tools/start.mjs")], {
      env: environment({ FAILS: "1" }),
      encoding: "utf8",
    });
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });

  it("uses no folder that someone else has put in its place", () => {
    const uid = process.getuid?.() ?? 0;
    symlinkSync("/", join(checkout, `tmp/handoffd-quickstart-${uid}`));
    const { status, stderr } = spawnSync(process.execPath, [join(checkout, "tools/start.mjs")], {
      env: environment(),
      encoding: "utf8",
    });
    expect(status).toBe(1);
    expect(stderr).toContain("belongs to someone else");
  });
});
