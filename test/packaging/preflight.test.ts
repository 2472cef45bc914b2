import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const PREFLIGHT = fileURLToPath(new URL("../../tools/preflight.mjs", import.meta.url));

describe("the look at the machine before anything is built", () => {
  let folder = "";

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "handoffd-preflight-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  function preflight(environment: NodeJS.ProcessEnv): { status: number | null; output: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, [PREFLIGHT], {
      env: environment,
      encoding: "utf8",
    });
    return { status, output: stdout + stderr };
  }

  function program(name: string, script: string): void {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }

  it("says nothing on a machine that has it all", () => {
    expect(preflight({ PATH: process.env["PATH"] })).toEqual({ status: 0, output: "" });
  });

  it("names everything that is missing at once, and the line that installs it", () => {
    const { status, output } = preflight({ PATH: folder });
    expect(status).toBe(1);
    expect(output).toContain("g++ does not run");
    expect(output).toContain("make does not run");
    expect(output).toContain("python3 does not run");
    expect(output.split("\n").filter((line) => line.includes("apt-get"))).toEqual([
      "  apt-get install -y --no-install-recommends g++ libc6-dev make python3",
    ]);
  });

  it("names the static C library alone when only that is missing", () => {
    program("g++", 'case "$*" in *print-file-name*) echo libc.a ;; esac');
    program("make", "");
    program("python3", "");
    const { status, output } = preflight({ PATH: folder });
    expect(status).toBe(1);
    expect(output).toContain("libc.a");
    expect(output).toMatch(/apt-get install -y --no-install-recommends libc6-dev$/m);
  });

  it("does not take a compiler that cannot do C++17", () => {
    program("g++", 'case "$*" in *c++17*) exit 1 ;; *print-file-name*) echo /usr/lib/libc.a ;; esac');
    program("make", "");
    program("python3", "");
    const { status, output } = preflight({ PATH: folder });
    expect(status).toBe(1);
    expect(output).toContain("does not compile C++17");
  });
});
