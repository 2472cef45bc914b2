// What a package of handoffd has in it, whoever packs it: the program, and the production dependencies in the versions of the lock
// file, without what nobody runs or reads. Nothing is fetched: they come from node_modules.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
export const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
export const COMPANIONS = ["handoff.node", "handoff-exec", "handoff-keeper"].map(
  (name) => `build/Release/${name}`,
);

/** Of a package's folder. Deeper ones of the same name may be code. */
const NOT_RUN = /^(tests?|integration|benchmarks?|examples?|docs?|scripts|node_modules|\..*)$/;
const NOT_READ = /\.(md|markdown|map|[cm]?ts|html|sh)$|^\../i;
const LICENSE = /^(licen[cs]e|copying|notice)/i;

/** What of this is not built yet. */
export function notBuilt() {
  return ["dist/cli/handoffd.js", ...COMPANIONS].filter((path) => !existsSync(join(root, path)));
}

/** The folders of the production dependencies, below the checkout. */
export function dependencies() {
  const words = ["ls", "--omit=dev", "--all", "--parseable"];
  const found = execFileSync("npm", words, { cwd: root, encoding: "utf8" });
  return found
    .split("\n")
    .filter((line) => line.startsWith(`${root}/node_modules/`))
    .map((line) => line.slice(root.length + 1));
}

/** Those of them that are in the bundle: the others are there to build the addon. */
export function bundled() {
  const forTheBuild = new Set(["node-addon-api", "node-api-headers"]);
  return dependencies().filter((path) => !forTheBuild.has(basename(path)));
}

export function copyParts(parts, target) {
  for (const part of parts) cpSync(join(root, part), join(target, part), { recursive: true });
}

/** The program without its packages: bin/ runs the bundle, which has them in it. Beside it the SDK, and what the page is. */
export function copyProgram(target) {
  copyParts(["bin", "package.json", ...COMPANIONS], target);
  for (const part of ["dist/bundle", "dist/handoff", "dist/admin-api/dashboard"]) {
    const filter = (source) => !source.endsWith(".map");
    cpSync(join(root, part), join(target, part), { recursive: true, filter });
  }
}

/** What the packages in the bundle ask to come along: their licences, one after the other. */
export function licensesOf(paths) {
  const texts = paths.flatMap((path) => {
    const found = readdirSync(join(root, path)).filter((name) => LICENSE.test(name));
    return found.map((name) => `${path}/${name}\n\n${readFileSync(join(root, path, name), "utf8").trim()}\n`);
  });
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

export function copyDependencies(paths, target) {
  for (const path of paths) {
    const from = join(root, path);
    mkdirSync(join(target, path), { recursive: true });
    for (const entry of readdirSync(from, { withFileTypes: true })) {
      if (entry.isDirectory() && NOT_RUN.test(entry.name)) continue;
      cpSync(join(from, entry.name), join(target, path, entry.name), {
        recursive: true,
        filter: (source) => LICENSE.test(basename(source)) || !NOT_READ.test(basename(source)),
      });
    }
  }
}

export function writeManifest(content, target) {
  writeFileSync(join(target, "package.json"), `${JSON.stringify(content, null, 2)}\n`);
}
