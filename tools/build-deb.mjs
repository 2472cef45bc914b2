// `npm run deb`: the Debian package, by debhelper. packaging/deb says what it has beside the program, and where.
//
//   npm run deb                           into build/deb
//   npm run deb -- --output DIR
//   npm run deb -- --version 0.2.0        as which it is packed, instead of package.json's
//
// DPKG_DEB_COMPRESSOR_LEVEL=1 is quicker.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import {
  bundled,
  copyParts,
  copyProgram,
  licensesOf,
  manifest,
  notBuilt,
  root,
  writeManifest,
} from "./staging.mjs";

const { values } = parseArgs({ options: { output: { type: "string" }, version: { type: "string" } } });
const output = resolve(values.output ?? join(root, "build/deb"));
const version = values.version ?? manifest.version;
/** 1.0.0-rc.1 comes before 1.0.0, which Debian says with a tilde. */
const debianVersion = version.replace("-", "~");

/** debian/copyright: of the project, and of each package in the bundle, what it says of itself. */
function copyright(template, packages) {
  const known = packages.map((path) => {
    const { name, license, author } = JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"));
    return { name, license, who: (typeof author === "object" ? author.name : author) ?? "its authors" };
  });
  const licenses = [...new Set(known.map(({ license }) => license))];
  const holders = [...new Set(known.map(({ name, who }) => ` ${who} (${name})`))];
  const text = readFileSync(join(root, "LICENSE"), "utf8").trim().split("\n");
  const own = ["License: MIT", ...text.map((line) => (line === "" ? " ." : ` ${line}`))].join("\n");
  const others = licenses
    .filter((name) => name !== "MIT")
    .map((name) => `License: ${name}\n The texts are in /usr/share/doc/handoffd/LICENSES.txt.`);
  return template
    .replace("@HOLDERS@", () => holders.join("\n").trim())
    .replace("@NAMES@", () => licenses.join(" and "))
    .replace("@LICENSES@", () => [own, ...others].join("\n\n"));
}

function changelog(control) {
  const [, maintainer] = /^Maintainer: (.*)$/m.exec(control);
  const words = { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } };
  const date = execFileSync("date", ["--utc", "-R"], words).trim();
  const entry = `handoffd (${debianVersion}) unstable; urgency=medium`;
  return `${entry}\n\n  * See CHANGELOG.md of the project.\n\n -- ${maintainer}  ${date}\n`;
}

/** A source package whose build has been done: program/ and what debian/handoffd.* name. */
function stage(folder) {
  const packages = bundled();
  const program = join(folder, "program");
  copyProgram(program);
  writeManifest({ ...manifest, version }, program);
  copyParts(["README.md", "CHANGELOG.md", "docs", "examples", "packaging"], folder);
  writeFileSync(join(folder, "LICENSES.txt"), licensesOf(packages));
  // bash looks for the command's own name.
  const completions = join(folder, "packaging/completions");
  for (const name of ["handoffd", "handoffctl"]) {
    cpSync(join(completions, `${name}.bash`), join(completions, "bash", name));
  }

  const debian = join(folder, "debian");
  cpSync(join(root, "packaging/deb"), debian, { recursive: true });
  const change = (name, to) => {
    writeFileSync(join(debian, name), to(readFileSync(join(debian, name), "utf8")));
  };
  change("copyright", (template) => copyright(template, packages));
  cpSync(join(root, "packaging/systemd/handoffd.service"), join(debian, "handoffd.service"));
  writeFileSync(join(debian, "changelog"), changelog(readFileSync(join(debian, "control"), "utf8")));
}

function build(work) {
  const folder = join(work, `handoffd-${debianVersion}`);
  stage(folder);
  const { status, stdout, stderr } = spawnSync("make", ["-f", "debian/rules", "binary"], {
    cwd: folder,
    encoding: "utf8",
  });
  if (status !== 0) {
    console.error(`${stdout ?? ""}${stderr ?? ""}`);
    console.error(
      "handoffd: the package could not be built. It needs debhelper (apt-get install debhelper).",
    );
    return 1;
  }
  mkdirSync(output, { recursive: true });
  for (const name of readdirSync(work).filter((entry) => entry.endsWith(".deb"))) {
    cpSync(join(work, name), join(output, name));
    console.log(join(output, name));
  }
  return 0;
}

const missing = notBuilt();
if (missing.length > 0) {
  console.error(`handoffd: ${missing.join(", ")} is not built: run \`npm ci\` first`);
  process.exit(1);
}
const work = mkdtempSync(join(tmpdir(), "handoffd-deb-"));
try {
  process.exitCode = build(work);
} finally {
  rmSync(work, { recursive: true, force: true });
}
