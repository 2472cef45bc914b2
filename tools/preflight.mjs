// Before anything is installed: is there all that the build needs, where one is needed? Everything that is missing is named at once,
// with the line that installs it; a machine that has it all hears nothing.
//
// Runs before the dependencies exist, and perhaps on an old Node that must still be able to read it: only
// Node's own modules and plain syntax.
import { spawnSync } from "node:child_process";
import { isAbsolute } from "node:path";
import process from "node:process";
import { hasPrebuilt } from "./prebuilt.mjs";

const NODE = { major: 20, minor: 19 };

const compiler = (process.env.CXX || "g++").split(" ");
const make = (process.env.MAKE || "make").split(" ");
const python = process.env.PYTHON || process.env.npm_config_python || "python3";

function run(command, input) {
  const [file, ...args] = command;
  const result = spawnSync(file, args, { input: input || "", encoding: "utf8", timeout: 60_000 });
  return { ok: result.status === 0, output: result.stdout || "", found: !result.error };
}

const CXX17 = "#include <optional>\nint main() { if (std::optional<int> one{1}; one) return 0; }\n";

function missingParts() {
  const missing = [];
  const name = compiler.join(" ");
  const version = run([...compiler, "--version"]);
  if (!version.found || !version.ok) {
    missing.push({ what: `a C++ compiler (${name} does not run)`, packages: ["g++", "libc6-dev"] });
  } else {
    if (!run([...compiler, "-std=c++17", "-fsyntax-only", "-x", "c++", "-"], CXX17).ok) {
      missing.push({
        what: `a C++17 compiler with its headers (${name} does not compile C++17)`,
        packages: ["g++"],
      });
    }
    // The launcher and the keeper are linked statically, so that they run in any image. The compiler answers with
    // a path when it has the file, and with the bare name when it has not.
    if (!isAbsolute(run([...compiler, "-print-file-name=libc.a"]).output.trim())) {
      missing.push({ what: "a static C library (libc.a)", packages: ["libc6-dev"] });
    }
  }
  if (!run([...make, "--version"]).ok) {
    missing.push({ what: `make (${make.join(" ")} does not run)`, packages: ["make"] });
  }
  if (!run([python, "--version"]).ok) {
    missing.push({ what: `Python 3, for node-gyp (${python} does not run)`, packages: ["python3"] });
  }
  return missing;
}

function complaints() {
  // Nothing else is worth saying on another system: the whole of it is about Linux's sockets.
  if (process.platform !== "linux") return [`handoffd runs on Linux only; this is ${process.platform}.`];
  const lines = [];
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < NODE.major || (major === NODE.major && minor < NODE.minor)) {
    lines.push(`Node ${NODE.major}.${NODE.minor} or newer is needed; this is ${process.versions.node}.`);
  }
  const missing = hasPrebuilt() ? [] : missingParts();
  if (missing.length > 0) {
    const packages = [...new Set(missing.flatMap((part) => part.packages))].sort();
    lines.push(
      "The build needs, and did not find:",
      ...missing.map((part) => `  - ${part.what}`),
      "On Debian and Ubuntu this installs it:",
      `  apt-get install -y --no-install-recommends ${packages.join(" ")}`,
    );
  }
  return lines;
}

const lines = complaints();
if (lines.length > 0) {
  console.error(lines.join("\n"));
  process.exitCode = 1;
}
