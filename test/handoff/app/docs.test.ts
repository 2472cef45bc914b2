/** The programs of docs/sdk.md are run: each says READY=1, and ends well when it is told to. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { Generations } from "../../support/generations.ts";
import { fixture, root } from "../../support/paths.ts";
import { expectTableUnchanged } from "../native-support.ts";

expectTableUnchanged();
vi.setConfig({ testTimeout: 120_000 });

const page = readFileSync(`${root}/docs/sdk.md`, "utf8");
const programs = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, text = ""], index) => ({
  index,
  text,
}));

let folder = "";
beforeAll(() => {
  // Within the package, so that its own name is found.
  mkdirSync(`${root}/build`, { recursive: true });
  folder = mkdtempSync(`${root}/build/sdk-docs-`);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("there are four of them", () => {
  expect(programs).toHaveLength(4);
});

it.each(programs)("program $index", async ({ index, text }) => {
  await using generations = Generations.open();
  const file = `${folder}/${index}.mjs`;
  // One without a server would end by itself, perhaps at the moment of the signal.
  writeFileSync(file, `${text}\nsetInterval(() => undefined, 1000);\n`);
  const program = await generations.start(relative(fixture(""), file)).ready();
  program.process.kill("SIGTERM");
  expect(await program.exit()).toEqual({ code: 0, signal: null });
  expect(program.errors).toEqual([]);
});
