import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { InventoryFile } from "../../../daemon/reload/inventory.ts";
import { loadText } from "../config/support.ts";

let state = "";
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), "inventory-"));
});
afterEach(() => rmSync(state, { recursive: true }));

const { listeners } = loadText(
  'listeners: { web: { address: "127.0.0.1:80" } }\nservices: { api: { command: [a], listeners: [web] } }',
);
const NOTHING = { listeners: [], services: [] };

test("what was written last is read again", () => {
  const file = new InventoryFile(state);
  expect(file.read()).toEqual(NOTHING);
  file.write({ listeners, services: ["api", "shop"] });
  file.write({ listeners, services: ["api"] });
  expect(new InventoryFile(state).read()).toMatchObject({ listeners, services: ["api"] });
});

test.each([
  ["another boot", /"boot":"[^"]*"/u, '"boot":"earlier"'],
  ["another format", /"format":1/u, '"format":2'],
])("what %s has left means nothing", (_, found, written) => {
  const file = new InventoryFile(state);
  file.write({ listeners, services: ["api"] });
  const path = join(state, "inventory.json");
  writeFileSync(path, readFileSync(path, "utf8").replace(found, written));
  expect(file.read()).toEqual(NOTHING);
});

test("where it cannot be written the old one stands, and it is said with the path", () => {
  const file = new InventoryFile(join(state, "missing"));
  expect(() => file.write(NOTHING)).toThrow(expect.objectContaining({ code: "DIRECTORY_UNUSABLE" }));
});
