/**
 * What a new configuration changes in what runs. Pure: it says what is to be done, and what cannot be done while the daemon runs.
 */
import { isDeepStrictEqual } from "node:util";
import { formatAddress, type ListenerAddress } from "../../handoff/address.ts";
import type { Config, ListenerConfig, LogLevel, ServiceConfig } from "../config/config.ts";

/** What runs, as far as a plan depends on it. */
export interface Running {
  /** Its sections of the daemon itself are what is in force, whatever was read since. */
  readonly config: Config;
  /** Services of whose generations some have a slot on the listener. */
  readonly users: ReadonlyMap<string, readonly string[]>;
  readonly leaving: {
    readonly services: readonly string[];
    /** `isShut`: new connections are refused already, and there is no way back. */
    readonly listeners: readonly { readonly config: ListenerConfig; readonly isShut: boolean }[];
  };
}

export interface Changed<T> {
  readonly config: T;
  /** As they stand in the file. Never empty. */
  readonly keys: readonly string[];
}

interface Difference<T> {
  readonly added: readonly T[];
  readonly removed: readonly T[];
  readonly changed: readonly Changed<T>[];
}

export interface ReloadPlan {
  readonly listeners: Difference<ListenerConfig> & {
    /** They were leaving, and stay. */
    readonly kept: readonly ListenerConfig[];
  };
  readonly services: Difference<ServiceConfig>;
  /** null: as it is. */
  readonly logLevel: LogLevel | null;
  /** Keys of the daemon itself that differ from what is in force. */
  readonly needsRestart: readonly string[];
  /** What cannot be done. When there is any, nothing of the plan is to be done. */
  readonly problems: readonly string[];
}

export function planReload(running: Running, wanted: Config): ReloadPlan {
  const listeners = difference(running.config.listeners, wanted.listeners);
  const services = difference(running.config.services, wanted.services);
  const leaving = new Map(running.leaving.listeners.map((each) => [each.config.name, each]));
  const added = listeners.added.filter(({ name }) => !leaving.has(name));
  const kept = listeners.added.filter(({ name }) => leaving.has(name));
  const again = kept.flatMap((config) => {
    const keys = differingKeys(leaving.get(config.name)?.config ?? config, config);
    return keys.length === 0 ? [] : [{ config, keys }];
  });
  const changed = [...listeners.changed, ...again];
  return {
    listeners: { added, kept, removed: listeners.removed, changed },
    services,
    logLevel: running.config.log.level === wanted.log.level ? null : wanted.log.level,
    needsRestart: restartKeys(running.config, wanted),
    problems: [
      ...changed.flatMap((each) => movedAddress(running, each)),
      ...kept.flatMap(({ name }) => (leaving.get(name)?.isShut === true ? [tooLateToKeep(name)] : [])),
      ...added.flatMap((config) => takenAddress(running, config)),
      ...services.added.flatMap(({ name }) =>
        running.leaving.services.includes(name) ? [stillEnding(name)] : [],
      ),
      ...wanted.services.flatMap((service) => foreignListeners(running, service)),
    ],
  };
}

/** What the current generation was started with and the file says otherwise: it comes with the next deploy. */
export function pendingKeys(started: ServiceConfig, wanted: ServiceConfig): string[] {
  // `version` is of a first start, and `deploy` of the deploys that begin from now on: both hold at once.
  return differingKeys(started, wanted).filter((key) => key !== "version" && key !== "deploy");
}

function difference<T extends { readonly name: string }>(
  before: readonly T[],
  after: readonly T[],
): Difference<T> {
  const old = new Map(before.map((each) => [each.name, each]));
  const names = new Set(after.map(({ name }) => name));
  return {
    added: after.filter(({ name }) => !old.has(name)),
    removed: before.filter(({ name }) => !names.has(name)),
    changed: after.flatMap((config) => {
      const keys = differingKeys(old.get(config.name) ?? config, config);
      return keys.length === 0 ? [] : [{ config, keys }];
    }),
  };
}

function differingKeys<T extends object>(before: T, after: T): string[] {
  return (Object.keys(after) as (keyof T & string)[])
    .filter((key) => !isDeepStrictEqual(before[key], after[key]))
    .map((key) => key.replaceAll(/[A-Z]/gu, (letter) => `_${letter.toLowerCase()}`));
}

function restartKeys(before: Config, after: Config): string[] {
  const sections = {
    "admin.socket": ({ admin }: Config) => admin.socket,
    "admin.http": ({ admin }: Config) => admin.http,
    metrics: ({ metrics }: Config) => metrics,
    "paths.runtime": ({ paths }: Config) => paths.runtime,
    "paths.state": ({ paths }: Config) => paths.state,
    marks: ({ marks }: Config) => marks,
    keeper: ({ keeper }: Config) => keeper,
  };
  return Object.entries(sections)
    .filter(([, read]) => !isDeepStrictEqual(read(before), read(after)))
    .map(([key]) => key);
}

/** Every listener that there is: the configuration's, and those that leave. */
function present({ config, leaving }: Running): ListenerConfig[] {
  return [...config.listeners, ...leaving.listeners.map((each) => each.config)];
}

function movedAddress(
  running: Running,
  { config: { name, address }, keys }: Changed<ListenerConfig>,
): string[] {
  if (!keys.includes("address")) return [];
  const before = present(running).find((each) => each.name === name)?.address ?? address;
  const [from, to] = [formatAddress(before), formatAddress(address)];
  return [
    `listeners.${name}.address: it listens on ${from}, and a listener's address is what it is, since connections wait there; add a listener of another name for ${to}, put it in the place of "${name}" in its service, and reload: the next deploy moves over, and ${from} is served until then`,
  ];
}

function takenAddress(running: Running, { name, address }: ListenerConfig): string[] {
  const key = boundTo(address);
  const other = present(running).find((each) => key !== null && boundTo(each.address) === key);
  if (other === undefined) return [];
  return [
    `listeners.${name}.address: ${formatAddress(address)} belongs to the listener "${other.name}" until that is gone; keep its name, or remove it, reload, deploy its service, and add "${name}" when handoffctl listeners shows it no more`,
  ];
}

/** null: the kernel chooses, and no other has it. */
function boundTo(address: ListenerAddress): string | null {
  return address.kind === "tcp" && address.port === 0 ? null : formatAddress(address);
}

function tooLateToKeep(name: string): string {
  return `listeners.${name}: it is being removed and refuses connections already; reload again when handoffctl listeners shows it no more`;
}

function stillEnding(name: string): string {
  return `services.${name}: the service of this name is being removed, and its processes are ending; reload again when handoffctl status shows it no more`;
}

function foreignListeners(running: Running, { name: service, listeners }: ServiceConfig): string[] {
  return listeners.flatMap((listener) => {
    const other = running.users.get(listener)?.find((user) => user !== service);
    if (other === undefined) return [];
    return [
      `services.${service}.listeners: generations of the service "${other}" serve "${listener}", and connections are given to the generations of one service; take it from "${other}", reload, deploy "${other}", and give it to "${service}" when its old generation has ended`,
    ];
  });
}
