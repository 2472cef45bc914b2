// Builds the addon and its two companions into build/Release. Runs node-gyp with headers that are on this machine
// already: Node's own where they were installed with it, else those of the package node-api-headers. node-gyp left to
// itself would download them.
//
// HANDOFFD_HEADERS=package takes the package's even where Node's are there. make knows what is up to date. Where the npm
// package has brought them, and they run here, nothing is built, unless with npm_config_build_from_source=true.
//
// --if-stale, as `npm run build` has it: only where a source is newer than what is there.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { hasPrebuilt } from "./prebuilt.mjs";

if (hasPrebuilt()) {
  console.log("handoffd: the addon came with the package (build/Release)");
  process.exit();
}

const root = fileURLToPath(new URL("..", import.meta.url));
if (process.argv.includes("--if-stale") && !isStale()) process.exit();

function isStale() {
  const built = join(root, "build/Release/handoff.node");
  const sources = readdirSync(join(root, "handoff/native")).map((name) => join("handoff/native", name));
  const changed = (file) => statSync(join(root, file)).mtimeMs;
  return (
    !existsSync(built) || Math.max(...["binding.gyp", ...sources].map(changed)) > statSync(built).mtimeMs
  );
}

const require = createRequire(import.meta.url);

/** What node-gyp takes from Node's own common.gypi, reduced to what an addon on Linux needs. */
const COMMON_GYPI = `{
  "target_defaults": {
    "default_configuration": "Release",
    "configurations": {
      "Debug": { "cflags": ["-g", "-O0"] },
      "Release": { "cflags": ["-O3"] }
    },
    "cflags": ["-pthread"],
    "ldflags": ["-pthread"],
    "target_conditions": [["_type=='loadable_module'", { "cflags": ["-fPIC"] }]]
  }
}
`;
const CONFIG_GYPI = `{ "target_defaults": {}, "variables": {} }\n`;

function writeIfChanged(path, content) {
  // An older time stamp than the objects' keeps make from building them again.
  if (!existsSync(path) || readFileSync(path, "utf8") !== content) writeFileSync(path, content);
}

/** A directory that looks like an installed Node to node-gyp, made from node-api-headers. */
function headersOfPackage() {
  const directory = join(root, "build", "node-api-headers");
  const include = join(directory, "include", "node");
  mkdirSync(include, { recursive: true });
  const source = require("node-api-headers").include_dir;
  for (const name of readdirSync(source)) {
    const target = join(include, name);
    if (!existsSync(target) || !readFileSync(target).equals(readFileSync(join(source, name)))) {
      copyFileSync(join(source, name), target);
    }
  }
  writeIfChanged(join(include, "common.gypi"), COMMON_GYPI);
  writeIfChanged(join(include, "config.gypi"), CONFIG_GYPI);
  return directory;
}

function headers() {
  const prefix = dirname(dirname(process.execPath));
  const include = join(prefix, "include", "node");
  const installed = existsSync(join(include, "node_api.h")) && existsSync(join(include, "common.gypi"));
  return installed && process.env.HANDOFFD_HEADERS !== "package" ? prefix : headersOfPackage();
}

/** npm names its own copy; otherwise `node-gyp` on PATH, otherwise the copy inside the npm on PATH. */
function nodeGyp() {
  const named = process.env.npm_config_node_gyp;
  if (named && existsSync(named)) return [process.execPath, named];
  const onPath = (name) =>
    (process.env.PATH ?? "")
      .split(delimiter)
      .filter((directory) => directory !== "")
      .map((directory) => join(directory, name))
      .find((file) => existsSync(file));
  const own = onPath("node-gyp");
  if (own !== undefined) return [own];
  const npm = onPath("npm"); // A link to npm/bin/npm-cli.js.
  if (npm === undefined) return null;
  const copy = join(dirname(dirname(realpathSync(npm))), "node_modules/node-gyp/bin/node-gyp.js");
  return existsSync(copy) ? [process.execPath, copy] : null;
}

function environment() {
  const variables = { ...process.env };
  for (const name of Object.keys(variables)) {
    // These win over node-gyp's own arguments.
    if (
      /^npm_(package_config_node_gyp|config)_(nodedir|disturl|dist_url|tarball|target|loglevel)$/i.test(name)
    ) {
      delete variables[name];
    }
  }
  return variables;
}

const command = nodeGyp();
if (command === null) {
  console.error("handoffd: node-gyp was not found: run `npm run install`, or install node-gyp");
  process.exit(1);
}
const nodedir = headers();
const [program, ...before] = command;
const arguments_ = [
  ...before,
  "configure",
  "build",
  `--nodedir=${nodedir}`,
  `--jobs=${availableParallelism()}`,
  "--loglevel=warn",
];
const result = spawnSync(program, arguments_, {
  cwd: root,
  env: environment(),
  encoding: "utf8",
  maxBuffer: 64 << 20,
  stdio: ["ignore", "pipe", "pipe"],
});
if (result.error || result.status !== 0) {
  process.stderr.write(result.stdout ?? "");
  process.stderr.write(result.stderr ?? "");
  console.error(
    `handoffd: the addon could not be built (${result.error?.message ?? `node-gyp ended with ${result.status ?? result.signal}`}). ` +
      "It needs a C++17 compiler, make and Python 3 (Debian: build-essential python3).",
  );
  process.exit(1);
}
console.log("handoffd: the addon is built (build/Release)");
