// Runs test/soak/NAME.soak.ts, which is written as the tests are. Its options are in SOAK_OPTIONS, its report goes to SOAK_REPORT.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export async function runInVitest(name, options) {
  const folder = mkdtempSync(join(tmpdir(), "soak-"));
  const file = join(folder, "report.json");
  try {
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const child = spawn(
      process.execPath,
      [vitest, "run", "--config", "test/soak/vitest.config.ts", `${name}.soak`],
      {
        cwd: root,
        env: { ...process.env, NO_COLOR: "1", SOAK_OPTIONS: JSON.stringify(options), SOAK_REPORT: file },
        stdio: ["ignore", "inherit", "inherit"],
      },
    );
    const [code] = await once(child, "exit");
    return { ok: code === 0, ...JSON.parse(readFileSync(file, "utf8")) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
