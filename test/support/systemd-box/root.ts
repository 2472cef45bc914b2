/**
 * File systems to boot a systemd in: a small Debian each, built once by mmdebstrap (20 to 60 s) into a cache outside of the checkout
 * (XDG_CACHE_HOME, else ~/.cache) and never written to afterwards.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cache } from "../cache.ts";
import { end, environment, start, withDeadline } from "../processes.ts";

/** Debian's releases, by the version of systemd that they have. */
const RELEASES = { 252: "bookworm", 257: "trixie" } as const;
export type SystemdVersion = keyof typeof RELEASES;

const PACKAGES = "systemd,systemd-sysv,libnss-systemd,dbus,iproute2,procps,libatomic1,libstdc++6";
/** Where Debian's own Node is new enough, for the Debian package. */
const WITH_NODE: ReadonlySet<SystemdVersion> = new Set([257]);
/** Counted up when the packages or the way of building change. */
const EDITION = 3;
const BUILD_MS = 300_000;

/** What is needed to boot one, and where it comes from (Debian). */
const TOOLS = {
  mmdebstrap: "mmdebstrap",
  "systemd-nspawn": "systemd-container",
  nsenter: "util-linux",
  unshare: "util-linux",
} as const;

/** What stands in the way of booting a systemd on this machine, in a sentence; null: nothing. `more` are tools that a test needs beside it. */
export function whyNoBox(more: Readonly<Record<string, string>> = {}): string | null {
  if (process.getuid?.() !== 0) return "booting a systemd needs root";
  const missing = Object.entries({ ...TOOLS, ...more }).filter(([tool]) => !isFound(tool));
  if (missing.length === 0) return null;
  const packages = [...new Set(missing.map(([, name]) => name))].join(" ");
  return `${missing.map(([tool]) => tool).join(", ")} is missing (apt-get install ${packages})`;
}

function isFound(tool: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(`${folder}/${tool}`));
}

/** The folder of such a root; builds it where it is not there. */
export async function rootOf(version: SystemdVersion): Promise<string> {
  const folder = join(cache, `systemd-${version}-${EDITION}`);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  // Renamed when it is whole: a build that was broken off, or another one at the same time, does no harm.
  const work = mkdtempSync(join(cache, "build-"));
  const made = join(work, "root");
  const packages = WITH_NODE.has(version) ? `${PACKAGES},nodejs` : PACKAGES;
  const build = start(
    "mmdebstrap",
    ["--quiet", "--variant=apt", `--include=${packages}`, RELEASES[version], made],
    { env: environment({ DEBIAN_FRONTEND: "noninteractive" }), stdio: ["ignore", "ignore", "inherit"] },
  );
  try {
    const { code } = await withDeadline(build.exit, BUILD_MS, `a Debian ${RELEASES[version]}`);
    if (code !== 0) throw new Error(`mmdebstrap ended with ${code ?? "a signal"}`);
    try {
      renameSync(made, folder);
    } catch (error) {
      if (!existsSync(folder)) throw error;
    }
    return folder;
  } finally {
    await end(build);
    rmSync(work, { recursive: true, force: true });
  }
}

/** The folders of node_modules that the daemon needs when it runs. */
export function runtimePackages(checkout: string): string[] {
  const found = execFileSync("npm", ["ls", "--omit=dev", "--all", "--parseable"], {
    cwd: checkout,
    encoding: "utf8",
  });
  return found
    .split("\n")
    .filter((line) => line.startsWith(`${checkout}/node_modules/`))
    .map((line) => line.slice(checkout.length + 1));
}
