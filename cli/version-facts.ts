/** What one is asked for when one reports a fault. Loads what the daemon would, so that what does not load is said. */
import { existsSync } from "node:fs";
import { arch, release } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { messageOf } from "../handoff/coded-error.ts";
import { late } from "../handoff/late.ts";
import { packageVersion } from "../handoff/version.ts";

export interface VersionFacts {
  readonly handoffd: string;
  readonly node: string;
  readonly linux: string;
  readonly libc: string;
  /** null: there is none. */
  readonly systemd: string | null;
  /** "loads", or why not. */
  readonly addon: string;
  readonly keeper: string;
  readonly from: string;
}

export async function versionFacts(): Promise<VersionFacts> {
  const { header } = process.report.getReport() as {
    readonly header: { readonly glibcVersionRuntime?: string };
  };
  const { glibcVersionRuntime: glibc } = header;
  return {
    handoffd: packageVersion(),
    node: `${process.version} (${arch()})`,
    linux: release(),
    libc: glibc === undefined ? "not glibc" : `glibc ${glibc}`,
    systemd: await systemd(),
    ...(await native()),
    from: fileURLToPath(new URL("..", import.meta.url)),
  };
}

export function renderVersion(facts: VersionFacts): string {
  const lines = Object.entries({ ...facts, systemd: facts.systemd ?? "none" });
  return lines.map(([name, fact]) => `${name.padEnd(8)}  ${fact}`).join("\n");
}

async function native(): Promise<Pick<VersionFacts, "addon" | "keeper">> {
  try {
    const { companion } = await import("../handoff/native.ts");
    return { addon: "loads", keeper: existsSync(companion("handoff-keeper")) ? "is there" : "is not built" };
  } catch (error) {
    return { addon: messageOf(error), keeper: "not looked for" };
  }
}

async function systemd(): Promise<string | null> {
  try {
    const { stdout } = await promisify(late.childProcess.execFile)("systemctl", ["--version"], {
      timeout: 2_000,
    });
    return /^systemd (.+)$/mu.exec(stdout)?.[1] ?? null;
  } catch {
    return null;
  }
}
