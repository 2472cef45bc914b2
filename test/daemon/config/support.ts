/** A host of our own invention, so that no test needs the addon or the real user database. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Config } from "../../../daemon/config/config.ts";
import { loadConfig, type LoadOptions } from "../../../daemon/config/load.ts";
import type { Problem } from "../../../daemon/config/problem.ts";
import { hasCode } from "../../../handoff/coded-error.ts";

const USERS = [
  { name: "root", uid: 0, gid: 0, home: "/root", shell: "/bin/sh" },
  { name: "api", uid: 1000, gid: 1000, home: "/srv/api", shell: "/bin/sh" },
];
const GROUPS = new Map([
  ["api", 1000],
  ["app", 500],
  ["deploy", 600],
]);

export const HOST: LoadOptions = {
  environment: {},
  accounts: {
    lookupUser: (user) => USERS.find(({ name, uid }) => name === user || uid === user) ?? null,
    lookupGroup: (name) => GROUPS.get(name) ?? null,
  },
  self: { uid: 0, gid: 0 },
};

export function repositoryFile(path: string): string {
  return fileURLToPath(new URL(`../../../${path}`, import.meta.url));
}

/** Writes `text` to a file, calls, and removes it. */
export function withFile<T>(text: string | Uint8Array, use: (file: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "handoffd-config-"));
  try {
    const file = join(directory, "handoffd.yaml");
    writeFileSync(file, text);
    return use(file);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export function loadText(text: string | Uint8Array, options: Partial<LoadOptions> = {}): Config {
  return withFile(text, (file) => loadConfig(file, { ...HOST, ...options }));
}

export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly problems: readonly Problem[];
}

/** What `load` throws, or null when it throws nothing. Anything but a refusal fails the test. */
export function refusalOrNull(load: () => unknown): Refusal | null {
  try {
    load();
    return null;
  } catch (error) {
    if (!hasCode(error, "CONFIG_INVALID", "CONFIG_UNREADABLE")) throw error;
    const { details } = error as typeof error & { details: { problems?: readonly Problem[] } };
    return { code: error.code, message: error.message, problems: details.problems ?? [] };
  }
}

/** What `load` throws; it fails the test when it does not. */
export function refusalOf(load: () => unknown): Refusal {
  const refusal = refusalOrNull(load);
  if (refusal === null) throw new Error("it was accepted");
  return refusal;
}
