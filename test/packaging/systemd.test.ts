import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const UNIT = fileURLToPath(new URL("../../packaging/systemd/handoffd.service", import.meta.url));

const found = spawnSync("systemd-analyze", ["--version"], { encoding: "utf8" }).status === 0;
const wanted = process.env["CI"] !== undefined;

if (!found && !wanted) console.warn("skipped: systemd-analyze is missing (apt-get install systemd)");

describe.skipIf(!found && !wanted)("the systemd unit", () => {
  let folder = "";

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "handoffd-unit-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  /** What systemd has to say about `text`. It exits with 0 for unknown keys too, so what counts is what it writes. */
  function complaints(text: string): string {
    const program = join(folder, "program");
    writeFileSync(program, "#!/bin/sh\n");
    chmodSync(program, 0o755);
    const unit = join(folder, "handoffd.service");
    // The programs are not installed where the tests run, and that they are missing is all it would say.
    writeFileSync(unit, text.replaceAll(/\/usr\/(bin|lib\/handoffd)\/handoff[\w-]+/g, program));
    const result = spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" });
    if (result.error !== undefined) throw result.error;
    // Other units of the machine are read along; theirs are not ours to mend.
    return (result.stdout + result.stderr)
      .split("\n")
      .filter((line) => line.includes("handoffd"))
      .join("\n");
  }

  it("has nothing that systemd does not understand", () => {
    expect(complaints(readFileSync(UNIT, "utf8"))).toBe("");
  });

  it("would be caught with a key that systemd does not know", () => {
    expect(complaints(readFileSync(UNIT, "utf8") + "\n[Service]\nKilMode=process\n")).toContain("KilMode");
  });

  it("lets the applications outlive the daemon", () => {
    const unit = readFileSync(UNIT, "utf8");
    expect(unit).toMatch(/^KillMode=process$/m);
    expect(unit).toMatch(/^OOMPolicy=continue$/m);
    expect(unit).toMatch(/^RuntimeDirectoryPreserve=restart$/m);
    expect(unit).toMatch(/^Restart=always$/m);
  });

  it("has no system call filter and no private file system, which every application would inherit", () => {
    expect(readFileSync(UNIT, "utf8")).not.toMatch(
      /^(NoNewPrivileges|MemoryDenyWriteExecute|SystemCallFilter|PrivateTmp|ProtectSystem)=/m,
    );
  });
});
