/** dist/bundle, which bin/ runs, is what dist/ is (tools/bundle.mjs). `npm run build` has made both. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { root } from "./support/paths.ts";
import { environment } from "./support/processes.ts";

const BAD = `${root}/test/daemon/config/bad`;

/** What `handoffd check` of dist/FOLDER says of each file, in one process. */
function sayings(folder: "bundle" | "cli", files: readonly string[]): unknown {
  const program = `
    const { main } = await import(${JSON.stringify(`${root}/dist/${folder}/handoffd.js`)});
    const said = [];
    const write = process.stderr.write;
    for (const file of process.argv.slice(1)) {
      let text = "";
      process.stderr.write = (part) => ((text += part), true);
      const code = await main(["check", "-c", file]);
      process.stderr.write = write;
      said.push({ file, code, text });
    }
    console.log(JSON.stringify(said));`;
  const words = ["--input-type=module", "-e", program, "--", ...files];
  const options = { encoding: "utf8", env: environment(), maxBuffer: 64 * 1024 * 1024 } as const;
  return JSON.parse(execFileSync(process.execPath, words, options).split("\n").at(-2) ?? "");
}

describe("the bundle", { timeout: 120_000 }, () => {
  it("says of every wrong configuration what the modules say that it is made of", () => {
    const files = readdirSync(BAD).filter((name) => name.endsWith(".yaml"));
    expect(files.length).toBeGreaterThan(20);
    const paths = files.map((name) => `${BAD}/${name}`);
    const said = sayings("bundle", paths);
    expect(said).toEqual(sayings("cli", paths));
    expect(said).toContainEqual(expect.objectContaining({ code: 2 }));
  });

  it("has in what is read before the listeners listen neither Fastify nor what builds or compiles a schema", () => {
    const folder = `${root}/dist/bundle`;
    const main = readdirSync(folder).filter((name) => /^main-.*\.js$/u.test(name));
    const read = new Map<string, string>();
    const visit = (name: string): void => {
      if (read.has(name)) return;
      const text = readFileSync(`${folder}/${name}`, "utf8");
      read.set(name, text);
      for (const [, next = ""] of text.matchAll(/\b(?:from|import)"\.\/([^"]+)"/gu)) visit(next);
    };
    for (const name of ["handoffd.js", ...main]) visit(name);
    const sources = [...read.keys()].flatMap((name) => {
      const map = JSON.parse(readFileSync(`${folder}/${name}.map`, "utf8")) as { readonly sources: string[] };
      return map.sources;
    });
    expect(sources).toContainEqual(expect.stringContaining("/pino/pino.js"));
    // What a compiled schema calls is small.
    const late = sources.filter((each) =>
      /node_modules\/(fastify|ajv(?!\/lib\/runtime)|@sinclair)\//u.test(each),
    );
    expect(late).toEqual([]);
    const all = [...read.values()].join("\n");
    expect(all).toContain('from"node:net"');
    for (const name of ["crypto", "child_process", "http", "https", "tls", "worker_threads"])
      expect(all).not.toMatch(new RegExp(`(from|require\\()"(node:)?${name}"`, "u"));
    expect(all.length).toBeLessThan(1.5 * 1024 * 1024);
  });

  it("needs no package, and bin/ runs the modules where there is none", () => {
    const folder = mkdtempSync(`${tmpdir()}/hd-bundle-`);
    const said = (): string =>
      execFileSync(process.execPath, [`${folder}/bin/handoffd`, "check", "--help"], { encoding: "utf8" });
    try {
      for (const name of ["bin", "dist", "package.json"])
        cpSync(`${root}/${name}`, `${folder}/${name}`, { recursive: true });
      const bundled = said();
      rmSync(`${folder}/dist/bundle`, { recursive: true });
      symlinkSync(`${root}/node_modules`, `${folder}/node_modules`);
      expect(said()).toBe(bundled);
      expect(bundled).toContain("read the configuration");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
