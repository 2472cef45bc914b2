import { existsSync, readFileSync } from "node:fs";

/** The version of this package. */
export function packageVersion(): string {
  // From the sources this file is cli/version.ts, compiled it is dist/cli/version.js.
  for (const path of ["../package.json", "../../package.json"]) {
    const file = new URL(path, import.meta.url);
    if (!existsSync(file)) continue;
    const { version } = JSON.parse(readFileSync(file, "utf8")) as { readonly version: string };
    return version;
  }
  throw new Error("the package.json of handoffd is missing");
}
