import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { Accounts } from "../../daemon/config/accounts.ts";
import type { Config } from "../../daemon/config/config.ts";
import { loadConfig } from "../../daemon/config/load.ts";
import { SERVER_NAMES } from "../support/server-table.ts";
import { folderOf } from "../support/servers.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** No file that is shown to everybody may name a user of some machine. */
const NOBODY: Accounts = { lookupUser: () => null, lookupGroup: () => null };

function load(file: string): Config {
  return loadConfig(file, { environment: {}, accounts: NOBODY });
}

function loadText(text: string): Config {
  const folder = mkdtempSync(join(tmpdir(), "handoffd-configuration-"));
  try {
    writeFileSync(join(folder, "handoffd.yaml"), text);
    return load(join(folder, "handoffd.yaml"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function yamlOf(page: string): string[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
}

function indented(text: string, by: number): string {
  return text.replaceAll(/^(?=.)/gmu, " ".repeat(by));
}

describe("the configurations that people copy", () => {
  it("include a quickstart that the daemon takes without a remark", () => {
    const config = load(join(root, "examples/quickstart/handoffd.yaml"));
    expect(config.warnings).toEqual([]);
    expect(config.services[0]?.deploy).toMatchObject({ strategy: "blue-green", bakeMs: 30_000 });
    expect(config.services[0]?.version).toBe("1");
  });

  it("include a canary that the daemon takes without a remark, and that Prometheus judges", () => {
    const config = load(join(root, "examples/canary/handoffd.yaml"));
    expect(config.warnings).toEqual([]);
    expect(config.services[0]?.deploy).toMatchObject({ strategy: "canary", analysis: { max: 0.05 } });
  });

  it("include a chat that the daemon takes without a remark", () => {
    expect(load(join(root, "examples/chat/handoffd.yaml")).warnings).toEqual([]);
  });

  it("stand in the index of the examples, each with a test that is there", () => {
    const index = readFileSync(join(root, "examples/README.md"), "utf8");
    const named = [...index.matchAll(/^\| \[([\w-]+)\]\(\1\)/gmu)].map(([, name]) => name);
    const folders = readdirSync(join(root, "examples"), { withFileTypes: true }).filter((one) =>
      one.isDirectory(),
    );
    expect(named.sort()).toEqual(folders.map(({ name }) => name).sort());
    for (const [, path = ""] of index.matchAll(/`(test\/[^`]+)`/gu))
      expect(existsSync(join(root, path))).toBe(true);
  });

  it("include one for containers that the daemon takes without a remark", () => {
    const config = load(join(root, "examples/containers/handoffd.yaml"));
    expect(config.warnings).toEqual([]);
    expect(config.services[0]?.external).toMatchObject({
      allow: { uids: [0], gids: [] },
      start: ["/etc/handoffd/start-container", "{version}", "{generation}-{instance}"],
    });
  });

  it.each(SERVER_NAMES)("include one for %s that the daemon takes without a remark", (name) => {
    const accounts = { ...NOBODY, lookupGroup: (group: string) => (group === "www-data" ? 33 : null) };
    const file = join(root, folderOf(name), "handoffd.yaml");
    const config = loadConfig(file, { environment: {}, accounts });
    expect(config.warnings).toEqual([]);
    expect(config.services.map((service) => service.version)).toEqual(config.services.map(() => "1"));
  });

  it("include those of the page about moving traffic, in a service around them", () => {
    const blocks = yamlOf("docs/strategies.md");
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) {
      const text = block.startsWith("analysis:") ? `deploy:\n${indented(block, 2)}` : block;
      const service = `command: [web]\nversion: "1"\nlisteners: [web]\n${text}`;
      const whole = `listeners: { web: { address: "tcp:127.0.0.1:0" } }\nservices:\n  web:\n${indented(service, 4)}`;
      const { analysis } = loadText(whole).services[0]?.deploy ?? {};
      expect(analysis).toEqual(block.includes("analysis:") ? expect.anything() : null);
    }
  });

  it("include those of the README, the shortest of them with six lines", () => {
    const blocks = yamlOf("README.md");
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) expect(loadText(block).services).toHaveLength(1);
    expect(Math.min(...blocks.map((block) => block.trimEnd().split("\n").length))).toBe(6);
  });
});
