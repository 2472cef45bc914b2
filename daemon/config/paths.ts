/** The daemon's directories: what systemd says wins over the file, the file over the default. */
import { join } from "node:path";
import { DEFAULTS } from "./defaults.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ChosenPath {
  readonly path: string;
  /** The variable that it comes from; null: the file or the default. */
  readonly variable: string | null;
}

export interface ChosenPaths {
  readonly runtime: ChosenPath;
  readonly state: ChosenPath;
}

export function choosePaths(
  file: { readonly runtime?: string | undefined; readonly state?: string | undefined } | undefined,
  environment: Environment,
): ChosenPaths {
  return {
    runtime: choose("RUNTIME_DIRECTORY", file?.runtime ?? DEFAULTS.runtime, environment),
    state: choose("STATE_DIRECTORY", file?.state ?? DEFAULTS.state, environment),
  };
}

function choose(variable: string, otherwise: string, environment: Environment): ChosenPath {
  // Of several directories of a unit systemd joins the paths with ":" (systemd.exec(5)); the first is ours.
  const path = environment[variable]?.split(":")[0];
  return path === undefined || path === "" ? { path: otherwise, variable: null } : { path, variable };
}

export function defaultAdminSocket(runtime: string): string {
  return join(runtime, DEFAULTS.adminSocketName);
}
