import { existsSync, readFileSync } from "node:fs";

let known: string | null = null;

/** The version of this package, as it was when it was first asked for: the status asks each time. */
export function packageVersion(): string {
  known ??= read();
  return known;
}

function read(): string {
  // From the sources this file is handoff/version.ts, compiled it is dist/handoff/version.js.
  for (const path of ["../package.json", "../../package.json"]) {
    const file = new URL(path, import.meta.url);
    if (!existsSync(file)) continue;
    const { version } = JSON.parse(readFileSync(file, "utf8")) as { readonly version: string };
    return version;
  }
  throw new Error("the package.json of handoffd is missing");
}
