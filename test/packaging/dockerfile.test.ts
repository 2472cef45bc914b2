import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (file: string): string => readFileSync(root + file, "utf8");

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** A Dockerfile's instructions, with continued lines joined and comments left out. */
function instructions(text: string): Instruction[] {
  return text
    .split("\n")
    .filter((line) => !line.trimStart().startsWith("#"))
    .join("\n")
    .replaceAll(/\\\n/g, " ")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [name = "", ...rest] = line.trim().split(/\s+/);
      return { name, rest: rest.join(" ") };
    });
}

const dockerfile = instructions(read("Dockerfile"));
const of = (name: string): string[] => dockerfile.filter((one) => one.name === name).map((one) => one.rest);

describe("the Dockerfile", () => {
  it("builds in one stage and ships another, both on the same Node", () => {
    const stages = of("FROM").map((rest) => rest.split(/\s+AS\s+/i));
    expect(stages.map(([, name]) => name)).toEqual(["build", "runtime"]);
    expect(new Set(stages.map(([image]) => image)).size).toBe(1);
  });

  it("copies only from stages that exist and from paths that the build makes", () => {
    const made = ["LICENSE", "package.json", "bin", "dist", "build/Release/", "node_modules"];
    for (const copy of of("COPY").filter((rest) => rest.startsWith("--from="))) {
      const [from = "", ...paths] = copy.split(" ");
      expect(from).toBe("--from=build");
      for (const path of paths.slice(0, -1)) {
        const inside = path.replace("/usr/lib/handoffd/", "");
        expect(made.some((known) => inside === known || inside.startsWith(known))).toBe(true);
      }
    }
  });

  it("starts the daemon as the first process and is asked by the client whether it is well", () => {
    expect(JSON.parse(of("ENTRYPOINT")[0] ?? "")).toEqual([
      "handoffd",
      "run",
      "-c",
      "/etc/handoffd/handoffd.yaml",
    ]);
    expect(of("HEALTHCHECK")[0]).toMatch(/CMD \["handoffctl", "status"\]$/);
  });

  it("tells node-gyp where the image has its headers before npm ci needs them", () => {
    const lines = dockerfile.map((one) => `${one.name} ${one.rest}`);
    const headers = lines.findIndex((line) => line === "ENV npm_config_nodedir=/usr/local");
    const install = lines.findIndex((line) => line.includes("npm ci"));
    expect(headers).toBeGreaterThan(-1);
    expect(install).toBeGreaterThan(headers);
  });

  it("is given everything that the build reads, and nothing that is not there", () => {
    const allowed = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const build = JSON.parse(read("tsconfig.build.json")) as { include: string[] };
    const needed = [
      "package.json",
      "package-lock.json",
      "tsconfig.json",
      "tsconfig.build.json",
      "binding.gyp",
    ];
    expect(allowed).toEqual(expect.arrayContaining([...needed, ...build.include, "bin", "tools"]));
    expect(allowed.filter((path) => !existsSync(root + path))).toEqual([]);
  });
});
