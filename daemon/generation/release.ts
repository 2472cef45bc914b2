/** Whether a release can be started at all: asked before anything is begun. */
import { existsSync } from "node:fs";
import type { Listener } from "../../handoff/listener.ts";
import { directoryOf } from "./account.ts";
import type { ServiceConfig } from "../config/config.ts";
import {
  directoryMissing,
  modeTooWeak,
  noNetworks,
  noShares,
  versionInvalid,
  versionMissing,
} from "../errors.ts";

/** Nothing that climbs out of a directory, hides in it, or looks like an option. */
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/u;

/** Throws VERSION_INVALID, VERSION_MISSING or DIRECTORY_MISSING. */
export function assertStartable(config: ServiceConfig, version: string | null): void {
  if (version !== null && !VERSION.test(version)) throw versionInvalid(version);
  if (version === null && config.directory?.includes("{version}") === true) throw versionMissing(config.name);
  const directory = directoryOf(config, version);
  if (directory !== null && !existsSync(directory)) throw directoryMissing(directory, config.name);
}

/** What a deploy asks of each listener, beside a gate. */
export interface Demands {
  /** The shares that the candidate has on its way: the steps of a canary, or k/n for k of n instances of a rolling one. */
  readonly shares?: readonly number[];
  /** How many networks its clients may be pinned by. */
  readonly networks?: number;
}

/**
 * Throws STRATEGY_NEEDS_STEERING where a listener cannot do what the deploy needs (`Mode` says what each can): a gate for all but
 * recreate, shares between 0 and 1, networks of clients.
 */
export function assertSteerable(
  service: string,
  strategy: string,
  listeners: Iterable<Listener>,
  { shares = [], networks = 0 }: Demands = {},
): void {
  const part = shares.find((share) => share > 0 && share < 1);
  for (const { name, mode } of listeners) {
    if (mode === "shared" && strategy !== "recreate") throw modeTooWeak(service, strategy, name);
    if (mode === "steered") continue;
    if (part !== undefined) throw noShares(service, strategy, name, part);
    if (networks > 0) throw noNetworks(service, name);
  }
}
