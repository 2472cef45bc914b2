// `npm run tarball`: the npm package, with the built addon and the dependencies in it, so that what is installed is what was tested:
// the ranges and `overrides` of package.json would be resolved anew on each machine, and overrides not at all.
//
//   npm run tarball                       into build/npm
//   npm run tarball -- --output DIR
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import {
  copyDependencies,
  copyParts,
  dependencies,
  manifest,
  notBuilt,
  root,
  writeManifest,
} from "./staging.mjs";

const { values } = parseArgs({ options: { output: { type: "string" } } });
const output = resolve(values.output ?? join(root, "build/npm"));

const missing = notBuilt();
if (missing.length > 0) {
  console.error(`handoffd: ${missing.join(", ")} is not built: run \`npm ci\` first`);
  process.exit(1);
}
mkdirSync(output, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), "handoffd-npm-"));
try {
  copyParts([...manifest.files, "README.md", "LICENSE", "CHANGELOG.md"], folder);
  copyDependencies(dependencies(), folder);
  const { preinstall, install } = manifest.scripts;
  const content = { ...manifest, scripts: { preinstall, install } };
  for (const name of ["devDependencies", "overrides"]) delete content[name];
  writeManifest({ ...content, bundleDependencies: Object.keys(manifest.dependencies) }, folder);
  const words = ["pack", "--ignore-scripts", `--pack-destination=${output}`, "--loglevel=error"];
  const { status } = spawnSync("npm", words, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
