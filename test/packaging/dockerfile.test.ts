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

  it("starts the daemon below a first process that reaps, as a user that is named by number, and asks the client whether it is well", () => {
    const entry = ["tini", "--", "handoffd", "run", "-c", "/etc/handoffd/handoffd.yaml"];
    expect(JSON.parse(of("ENTRYPOINT")[0] ?? "")).toEqual(entry);
    expect(of("USER")).toEqual(["65532:65532"]);
    expect(of("HEALTHCHECK")[0]).toMatch(/CMD \["handoffctl", "status"\]$/);
  });

  it("builds the addon before it is given the TypeScript, so that a change there does not build it again", () => {
    const lines = dockerfile.map((one) => `${one.name} ${one.rest}`);
    const addon = lines.findIndex((line) => line.includes("npm ci"));
    expect(addon).toBeGreaterThan(lines.indexOf("COPY handoff/native handoff/native"));
    expect(lines.indexOf("COPY . .")).toBeGreaterThan(addon);
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
