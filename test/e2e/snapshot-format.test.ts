/** What a daemon writes of a service has the form of the golden files: another form is another format (daemon/state/snapshot-format.ts). */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { startDaemon } from "../support/daemon.ts";
import { golden, SCENES } from "../support/golden.ts";

/** Keys in their order, without what stands behind them. */
function formOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => formOf(each));
  if (typeof value !== "object" || value === null) return "·";
  return Object.entries(value).map(([key, own]) => [key, formOf(own)]);
}

test.each(Object.entries(SCENES))("%s", { timeout: 60_000 }, async (name, { config, play }) => {
  await using daemon = await startDaemon({ config });
  await play(daemon);
  const files = ["live", "json"].map((suffix) => `${daemon.folder}/state/services/api.${suffix}`);
  const written = readFileSync(files.find((file) => existsSync(file)) ?? "", "utf8");
  expect(formOf(JSON.parse(written))).toEqual(formOf(golden(name)));
});
