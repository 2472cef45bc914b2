/** The addon and its companions under AddressSanitizer and UndefinedBehaviorSanitizer. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { root } from "./support/paths.ts";
import { environment } from "./support/processes.ts";

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const sources = `${root}/handoff/native`;
const fixtures = `${root}/test/fixtures/native`;
const sanitize = [
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=all",
  "-fno-omit-frame-pointer",
  "-g",
  "-O1",
];
const defines = ["-D_GNU_SOURCE", "-DNAPI_VERSION=8", "-DNAPI_CPP_EXCEPTIONS"];

/** The library's path, or its bare name when the compiler does not have it. */
function library(name: string): string {
  return execFileSync("g++", [`-print-file-name=${name}`], { encoding: "utf8" }).trim();
}
const libraries = ["libasan.so", "libubsan.so"].map(library);
const missing = libraries.some((path) => !existsSync(path));

function skipWithout(context: TestContext): void {
  if (!missing) return;
  const sentence =
    "the sanitizers' libraries are missing: apt-get install libasan8 (or libgcc-dev of this compiler)";
  if (process.env["CI"] !== undefined) throw new Error(sentence);
  context.skip(sentence);
}

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/sanitized-`);
});
afterAll(() => rmSync(folder, { recursive: true }));

const options = { ASAN_OPTIONS: "detect_leaks=0", UBSAN_OPTIONS: "print_stacktrace=1" };

describe("under the sanitizers", () => {
  it(
    "every function of the addon runs without a report, in workers too",
    { timeout: 300_000 },
    async (context) => {
      skipWithout(context);
      const { include_dir: headers } = require("node-api-headers") as { include_dir: string };
      const includes = [dirname(require.resolve("node-addon-api/napi.h")), headers].map(
        (path) => `-I${path}`,
      );
      const compile = async (name: string): Promise<string> => {
        const object = `${folder}/${name}.o`;
        const flags = ["-std=c++17", "-fPIC", ...sanitize, ...defines, ...includes];
        await run("g++", [...flags, "-c", `${sources}/${name}`, "-o", object]);
        return object;
      };
      const names = readdirSync(sources).filter((name) => name.endsWith(".cpp"));
      const objects: string[] = [];
      // Two at a time: a compiler takes a core and some hundred megabytes.
      const lane = async (): Promise<void> => {
        for (let name = names.shift(); name !== undefined; name = names.shift())
          objects.push(await compile(name));
      };
      await Promise.all([lane(), lane()]);
      const addon = `${folder}/handoff.node`;
      await run("g++", ["-shared", "-fsanitize=address,undefined", ...objects, "-o", addon]);
      const { stdout, stderr } = await run(
        process.execPath,
        ["--expose-gc", `${fixtures}/exercise.mjs`, addon],
        {
          env: environment({ LD_PRELOAD: libraries.join(" "), ...options }),
        },
      );
      expect({ stdout, stderr }).toEqual({ stdout: "exercised\n", stderr: "" });
    },
  );

  it.for([
    ["the launcher", "launcher-fuzz.c", [], "granted often, specified often"],
    ["the keeper", "keeper-fuzz.c", [], "answered often, released often"],
    [
      "the parsers of the kernel's answers",
      "diag-fuzz.cpp",
      ["diag.cpp", "socket.cpp", "address.cpp", "descriptor.cpp"],
      "inet often, unix often",
    ],
  ] as const)(
    "%s takes random bytes without a report",
    { timeout: 120_000 },
    async ([, name, others, expected], context) => {
      skipWithout(context);
      const program = `${folder}/${name}.fuzz`;
      const [compiler, standard] = name.endsWith(".c") ? ["gcc", "-std=gnu11"] : ["g++", "-std=c++17"];
      const files = [`${fixtures}/${name}`, ...others.map((other) => `${sources}/${other}`)];
      await run(compiler, [standard, "-w", ...sanitize, "-D_GNU_SOURCE", ...files, "-o", program]);
      const { stdout, stderr } = await run(program, [], { env: environment(options) });
      expect({ stdout, stderr }).toEqual({ stdout: `${expected}\n`, stderr: "" });
    },
  );
});
