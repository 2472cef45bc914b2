// `npm run deb`: the Debian package, by debhelper. packaging/deb says what it has beside the program, and where.
//
//   npm run deb                           into build/deb
//   npm run deb -- --output DIR
//
// DPKG_DEB_COMPRESSOR_LEVEL=1 is quicker.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import {
  COMPANIONS,
  copyDependencies,
  copyParts,
  dependencies,
  manifest,
  notBuilt,
  root,
} from "./staging.mjs";

/** Only to build the addon. */
const FOR_THE_BUILD = new Set(["node-addon-api", "node-api-headers"]);

const { values } = parseArgs({ options: { output: { type: "string" } } });
const output = resolve(values.output ?? join(root, "build/deb"));

/** debian/copyright: of the project, and of each package that comes along, what it says of itself. */
function copyright(template, packages) {
  const licenses = new Set();
  const stanzas = packages.map((path) => {
    const { license, author } = JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"));
    const who = (typeof author === "object" ? author.name : author) ?? "its authors";
    licenses.add(license);
    return `Files: usr/lib/handoffd/${path}/*\nCopyright: ${who}\nLicense: ${license}`;
  });
  licenses.delete("MIT");
  const text = readFileSync(join(root, "LICENSE"), "utf8").trim().split("\n");
  const own = ["License: MIT", ...text.map((line) => (line === "" ? " ." : ` ${line}`))].join("\n");
  const others = [...licenses].map((name) => `License: ${name}\n The text is in the package's folder.`);
  return template
    .replace("@PACKAGES@", () => stanzas.join("\n\n"))
    .replace("@LICENSES@", () => [own, ...others].join("\n\n"));
}

function changelog(control) {
  const [, maintainer] = /^Maintainer: (.*)$/m.exec(control);
  const words = { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } };
  const date = execFileSync("date", ["--utc", "-R"], words).trim();
  const entry = `handoffd (${manifest.version}) unstable; urgency=medium`;
  return `${entry}\n\n  * See CHANGELOG.md of the project.\n\n -- ${maintainer}  ${date}\n`;
}

/** A source package whose build has been done: program/ and what debian/handoffd.* name. */
function stage(folder) {
  const packages = dependencies().filter((path) => !FOR_THE_BUILD.has(basename(path)));
  const program = join(folder, "program");
  copyParts(["bin", "dist", "package.json", ...COMPANIONS], program);
  copyDependencies(packages, program);
  copyParts(["README.md", "docs", "examples", "packaging"], folder);

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
  const folder = join(work, `handoffd-${manifest.version}`);
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
