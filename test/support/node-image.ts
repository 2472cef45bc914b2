/**
 * Images that the repository's Dockerfile makes, without a registry and without a network. What it begins with is made by mmdebstrap, once
 * per machine, and has what the Dockerfile asks apt for and this machine's own Node and npm; packages come from npm's cache, where
 * `npm ci` has put them. Layers stay, so that what has not changed is not built again.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { cache } from "./cache.ts";
import { root } from "./paths.ts";
import { Podman } from "./podman.ts";
import { environment } from "./processes.ts";
import { run } from "./run.ts";

/** By this name podman finds what the Dockerfile calls node:24-bookworm-slim. */
export const BASE = "localhost/node:24-bookworm-slim";
const PACKAGES = "build-essential,python3,tini,ca-certificates,libatomic1";
const MAKE_MS = 300_000;
/** Where layers stay. Counted up when the base changes. */
const STORAGE = join(cache, "images-1");

/** Builds localhost/handoffd. Whoever asks disposes of the podman. */
export async function imageBuilt(): Promise<Podman> {
  mkdirSync(cache, { recursive: true });
  const podman = Podman.open(STORAGE);
  try {
    if ((await podman.tried(["image", "exists", BASE])).code !== 0) await makeBase(podman);
    await build(podman);
    return podman;
  } catch (error) {
    await podman[Symbol.asyncDispose]();
    throw error;
  }
}

async function makeBase(podman: Podman): Promise<void> {
  const folder = mkdtempSync(join(cache, "base-"));
  try {
    const made = `${folder}/root`;
    const words = ["--quiet", "--variant=apt", `--include=${PACKAGES}`, "bookworm", made];
    const env = environment({ DEBIAN_FRONTEND: "noninteractive" });
    await run("mmdebstrap", words, { env, deadlineMs: MAKE_MS });
    // Nobody to ask: what apt is told to install is there.
    writeFileSync(`${made}/etc/apt/sources.list`, "");
    cpSync(process.execPath, `${made}/usr/local/bin/node`);
    const npm = dirname(dirname(realpathSync(found("npm"))));
    cpSync(npm, `${made}/usr/local/lib/node_modules/npm`, { recursive: true });
    symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", `${made}/usr/local/bin/npm`);
    await run("tar", ["-C", made, "-cf", `${folder}/base.tar`, "."], { deadlineMs: MAKE_MS });
    await podman.run("import", "--quiet", `${folder}/base.tar`, BASE);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function found(program: string): string {
  const folder = (process.env["PATH"] ?? "").split(":").find((place) => existsSync(`${place}/${program}`));
  if (folder === undefined) throw new Error(`${program} is missing`);
  return `${folder}/${program}`;
}

function setting(name: string): string {
  return execFileSync("npm", ["config", "get", name], { cwd: root, encoding: "utf8" }).trim();
}

/** Whatever put the packages of this lock file into node_modules: from here on npm's cache has them all. */
async function fillCache(): Promise<void> {
  const lock = readFileSync(`${root}/package-lock.json`);
  const mark = join(cache, `npm-${createHash("sha256").update(lock).digest("hex").slice(0, 16)}`);
  if (existsSync(mark)) return;
  const folder = mkdtempSync(join(cache, "npm-"));
  try {
    for (const name of ["package.json", "package-lock.json"]) cpSync(`${root}/${name}`, `${folder}/${name}`);
    const words = ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
    await run("npm", words, { cwd: folder, deadlineMs: MAKE_MS });
    writeFileSync(mark, "");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function build(podman: Podman): Promise<void> {
  await fillCache();
  const npmrc = `${podman.folder}/npmrc`;
  writeFileSync(npmrc, `offline=true\ncache=/npm\nregistry=${setting("registry")}\nupdate-notifier=false\n`);
  const volumes = [`--volume=${setting("cache")}:/npm:O`, `--volume=${npmrc}:/usr/local/etc/npmrc:ro`];
  const common = ["build", "--quiet", "--format=docker", "--pull=never", "--network=none", "--layers"];
  for (const stage of ["build", "runtime"]) {
    const tag = stage === "build" ? "localhost/handoffd-build" : "localhost/handoffd";
    await podman.run(...common, ...volumes, `--target=${stage}`, `--tag=${tag}`, root);
  }
  // The layers of before, which have no name any more.
  await podman.run("image", "prune", "--force");
}
