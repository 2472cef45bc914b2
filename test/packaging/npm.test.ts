/** The npm package, installed from its tarball into an empty prefix: without a compiler and without a network, and with a compiler where one is needed. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { environment } from "../support/processes.ts";
import { run, tried } from "../support/run.ts";
import { NOTHING } from "../support/stage.ts";

const NPM_MS = 400_000;

let folder = "";
/** Has no compiler, make or Python: what npm itself and the programs of the package run. */
let bare = "";
let prefix = "";
let home = "";
beforeAll(async () => {
  folder = mkdtempSync(`${tmpdir()}/hd-npm-`);
  bare = `${folder}/path`;
  prefix = `${folder}/prefix`;
  home = `${prefix}/lib/node_modules/handoffd`;
  mkdirSync(bare);
  for (const tool of ["sh", "env"]) symlinkSync(`/bin/${tool}`, `${bare}/${tool}`);
  symlinkSync(process.execPath, `${bare}/node`);
  // Of what is built already.
  await run(process.execPath, [`${root}/tools/build-npm.mjs`, `--output=${folder}`], { deadlineMs: NPM_MS });
}, NPM_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** npm with a cache and settings of the test's own, and no way out: whatever it wants from elsewhere is an error. */
async function npm(path: string, ...words: readonly string[]): Promise<string> {
  const program = realpathSync(
    (await run("sh", ["-c", "command -v npm"], { deadlineMs: 10_000 })).stdout.trim(),
  );
  const own = [
    `--cache=${folder}/cache`,
    `--userconfig=${folder}/npmrc`,
    "--offline",
    "--foreground-scripts",
  ];
  // Not optimized: whether it can be built is the question.
  const env = environment({ PATH: path, CFLAGS: "-O0", CXXFLAGS: "-O0" });
  const options = { cwd: folder, env, deadlineMs: NPM_MS };
  const { stdout, stderr } = await run(process.execPath, [program, ...words, ...own], options);
  return stdout + stderr;
}

test(
  "without a compiler the addon of the package is used, and what is installed deploys",
  { timeout: NPM_MS },
  async () => {
    const said = await npm(bare, "install", "--global", `--prefix=${prefix}`, `${folder}/handoffd-0.1.0.tgz`);
    expect(said).toContain("the addon came with the package");
    expect(existsSync(`${home}/build/Makefile`)).toBe(false);

    await using daemon = await startDaemon({ config: oneService(), program: `${home}/bin/handoffd` });
    const { target } = addressOf(await daemon.status(), "web");
    await using load = startLoad({ target, mode: "new", connections: 4, rate: 100 });
    await load.started;
    const env = environment({ PATH: bare, HANDOFFD_SOCKET: daemon.socket });
    const deploy = await tried(`${prefix}/bin/handoffctl`, ["deploy", "api", "v1"], {
      env,
      deadlineMs: 60_000,
    });
    expect(deploy).toMatchObject({ code: 0, stderr: "" });
    await load.sawGeneration(2);
    expect(lost(await load.stop())).toEqual(NOTHING);
  },
);

test(
  "where the addon of the package does not run it is built, and what that needs is named",
  { timeout: NPM_MS },
  async () => {
    const release = `${home}/build/Release`;
    const rebuild = (path: string) => npm(path, "rebuild", "--global", `--prefix=${prefix}`);
    // What another kind of machine makes of it.
    writeFileSync(`${release}/handoff.node`, "\x7fELF");
    await expect(rebuild(bare)).rejects.toThrow(
      "apt-get install -y --no-install-recommends g++ libc6-dev make python3",
    );
    rmSync(`${home}/build`, { recursive: true });
    expect(await rebuild(process.env["PATH"] ?? "")).toContain("the addon is built");
    expect(readdirSync(release)).toEqual(
      expect.arrayContaining(["handoff-exec", "handoff-keeper", "handoff.node"]),
    );
    const load = ["-e", "require(process.argv[1])", `${release}/handoff.node`];
    await run(process.execPath, load, { deadlineMs: 10_000 });
  },
);
