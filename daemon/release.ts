/** Whether a release can be started at all: asked before anything is begun. */
import { existsSync } from "node:fs";
import type { Listener } from "../handoff/listener.ts";
import { directoryOf } from "./account.ts";
import type { ServiceConfig } from "./config/config.ts";
import { directoryMissing, modeTooWeak, versionInvalid, versionMissing } from "./errors.ts";

/** Nothing that climbs out of a directory, hides in it, or looks like an option. */
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/u;

/** Throws VERSION_INVALID, VERSION_MISSING or DIRECTORY_MISSING. */
export function assertStartable(config: ServiceConfig, version: string | null): void {
  if (version !== null && !VERSION.test(version)) throw versionInvalid(version);
  if (version === null && config.directory?.includes("{version}") === true) throw versionMissing(config.name);
  const directory = directoryOf(config, version);
  if (directory !== null && !existsSync(directory)) throw directoryMissing(directory, config.name);
}

/** Throws STRATEGY_NEEDS_STEERING where a listener has no gate for a second generation. */
export function assertSteerable(service: string, strategy: string, listeners: Iterable<Listener>): void {
  for (const listener of listeners) {
    if (listener.mode === "shared") throw modeTooWeak(service, strategy, listener.name);
  }
}
