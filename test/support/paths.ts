import { fileURLToPath } from "node:url";

/** The checkout's folder, without a slash at the end. */
export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** A program of test/fixtures/apps by its file's name. */
export function fixture(name: string): string {
  return `${root}/test/fixtures/apps/${name}`;
}

/** The command line that runs a program of test/fixtures/apps, as a service's `command` takes it. */
export function commandOf(name: string): [string, string] {
  return [name.endsWith(".py") ? "python3" : process.execPath, fixture(name)];
}
