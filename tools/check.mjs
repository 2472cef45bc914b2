// `npm run check`: every static check, two at a time, one line each; the whole output only of those that failed.
//
//   npm run check                  all of them
//   npm run check -- eslint tsc    these
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const AT_ONCE = 2;
const DEADLINE_MS = 900_000;
const ROOMS = ["handoff", "deploy", "daemon", "admin-api", "cli"];
const root = fileURLToPath(new URL("..", import.meta.url));

// What has not changed since the last check is not checked again, unless with other packages, whose types eslint asks too. A clean
// checkout has no cache.
const INSTALLED = createHash("sha256").update(readFileSync(join(root, "node_modules/.package-lock.json")));
const CACHE = `node_modules/.cache/handoffd-${INSTALLED.digest("hex").slice(0, 8)}`;

// The slow ones first, so that the last of them does not run alone.
const CHECKS = {
  eslint: bin(
    "eslint",
    "--max-warnings=0",
    "--cache",
    "--cache-strategy=content",
    `--cache-location=${CACHE}/eslint`,
    ".",
  ),
  tsc: bin("tsc", "--noEmit", "--incremental", "--tsBuildInfoFile", `${CACHE}/tsc.tsbuildinfo`),
  "tsc-dashboard": bin(
    "tsc",
    "--noEmit",
    "--incremental",
    "-p",
    "admin-api/dashboard",
    "--tsBuildInfoFile",
    `${CACHE}/tsc-dashboard.tsbuildinfo`,
  ),
  knip: bin("knip", "--no-progress"),
  prettier: bin(
    "prettier",
    "--check",
    "--log-level=warn",
    "--cache",
    `--cache-location=${CACHE}/prettier`,
    ".",
  ),
  "dependency-cruiser": bin("depcruise", "--config", ".dependency-cruiser.mjs", ...ROOMS),
  "clang-format": [process.execPath, "tools/clang-format.mjs"],
};

function bin(name, ...args) {
  return [join(root, "node_modules/.bin", name), ...args];
}

function run(name) {
  const [file, ...args] = CHECKS[name];
  const startedAt = performance.now();
  const color = process.stdout.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: "1" } : {};
  return new Promise((resolve) => {
    const output = [];
    const child = spawn(file, args, {
      cwd: root,
      env: { ...process.env, ...color },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: DEADLINE_MS,
    });
    const end = (ok, remark) => {
      if (remark) output.push(`${remark}\n`);
      resolve({ name, ok, output: output.join(""), seconds: (performance.now() - startedAt) / 1000 });
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => output.push(text));
    }
    child.on("error", (error) => end(false, `${file} does not run: ${error.message}`));
    child.on("close", (code, signal) => end(code === 0, signal && `ended by ${signal}`));
  });
}

function report({ name, ok, output, seconds }) {
  console.log(`${ok ? "ok  " : "FAIL"}  ${name.padEnd(20)}${seconds.toFixed(1).padStart(5)} s`);
  if (!ok) console.log(`${output.trimEnd().replace(/^/gm, "      ")}\n`);
}

async function main(names) {
  const unknown = names.filter((name) => !(name in CHECKS));
  if (unknown.length > 0) {
    console.error(`no such check: ${unknown.join(", ")} (there are ${Object.keys(CHECKS).join(", ")})`);
    return 2;
  }
  const waiting = names.length > 0 ? [...names] : Object.keys(CHECKS);
  let failed = 0;
  const worker = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const result = await run(name);
      if (!result.ok) failed += 1;
      report(result);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
