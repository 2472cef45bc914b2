/**
 * What one image of the daemon leaves to the next: a memfd with all that stands in no file, and descriptors. The environment
 * has the memfd's number, and the memfd has the others'.
 *
 *   HANDOFFD_UPGRADE=31     { "format": 1, "version": "0.1.0", "pid": 41, …, "descriptors": { "lock": 17, "slot/web/0": 20, … } }
 *
 * Names are the keeper's (slot/…, notify/…, channel/…, store/…), and of what the keeper does not hold: `lock`, `admin/…`, `handoff/…`.
 */
import { closeSync, fstatSync, readFileSync, readlinkSync, writeSync } from "node:fs";
import type { EventLogState } from "../../admin-api/events.ts";
import type { IdempotencyState } from "../../admin-api/idempotency.ts";
import { formatHostPort, type TcpAddress } from "../../handoff/address.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native } from "../../handoff/native.ts";
import { startTimeOf } from "../../handoff/process.ts";
import type { Config } from "../config/config.ts";
import { upgradeStateUnreadable } from "../errors.ts";

export const UPGRADE_VARIABLE = "HANDOFFD_UPGRADE";
const FORMAT = 1;
const MEMFD = "handoffd-upgrade";

export interface UpgradeState {
  /** Of the image that wrote it. */
  readonly version: string;
  /** Milliseconds since the epoch: when the first image was started. */
  readonly startedAt: number;
  /** How many images have been replaced, the one that wrote it included. */
  readonly upgrades: number;
  readonly events: EventLogState;
  readonly idempotency: IdempotencyState;
  /** What is in systemd's fdstore, by name; null where another keeper is used. */
  readonly stored: readonly string[] | null;
  /** As the metrics have made it. */
  readonly counters: unknown;
  /** What may not differ between two images: see `essenceOf`. */
  readonly essence: Essence;
}

/** By what it is called in an error message. */
export type Essence = Readonly<Record<string, string>>;

interface StateFile extends UpgradeState {
  readonly format: number;
  readonly pid: number;
  readonly startTime: string;
  readonly descriptors: Readonly<Record<string, number>>;
}

/**
 * What an upgrade cannot change, because the new image goes on with what is open. Of what runs, that is the configuration in force:
 * what was last read, at the start or by a reload.
 */
export function essenceOf(config: Config): Essence {
  const listeners = config.listeners.map(({ name, address }) => [
    `the address of listener ${name}`,
    JSON.stringify(address),
  ]);
  return {
    "the listeners": config.listeners.map(({ name }) => name).join(" "),
    ...(Object.fromEntries(listeners) as Record<string, string>),
    "the services": config.services.map(({ name }) => name).join(" "),
    "admin.socket.path": config.admin.socket.path,
    "admin.http.address": addressOf(config.admin.http),
    "metrics.address": addressOf(config.metrics),
    "paths.runtime": config.paths.runtime,
    "paths.state": config.paths.state,
    keeper: config.keeper,
  };
}

function addressOf(section: { readonly address: TcpAddress } | null): string {
  return section === null ? "none" : formatHostPort(section.address);
}

/** What is not the same, in words. */
export function differences(before: Essence, now: Essence): string[] {
  return Object.entries(before).flatMap(([what, value]) => {
    const other = now[what];
    return other === undefined || other === value ? [] : [`${what} (${value} here, ${other} in the file)`];
  });
}

/** Text for the memfd. `descriptors` by name. */
export function encodeState(state: UpgradeState, descriptors: ReadonlyMap<string, number>): string {
  const file: StateFile = {
    format: FORMAT,
    pid: process.pid,
    startTime: startTimeOf(process.pid) ?? "",
    ...state,
    descriptors: Object.fromEntries(descriptors),
  };
  return JSON.stringify(file);
}

/** @throws CodedError UPGRADE_STATE_UNREADABLE */
export function parseState(text: string): StateFile {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw upgradeStateUnreadable("it is not JSON", error);
  }
  if (typeof content !== "object" || content === null || !("format" in content)) {
    throw upgradeStateUnreadable("it says no format");
  }
  if (content.format !== FORMAT) {
    throw upgradeStateUnreadable(`its format is ${String(content.format)}, and this version reads ${FORMAT}`);
  }
  // Written by this program for itself; the format's number is the promise about the rest.
  return content as StateFile;
}

/** A memfd with the text. The descriptor is the caller's. */
export function memoryOf(text: string): Descriptor {
  const memory = new Descriptor(native.memfd(MEMFD));
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(memory.fd, bytes, at, bytes.length - at, at);
    return memory;
  } catch (error) {
    memory.close();
    throw error;
  }
}

/** What the image before has left to this one. Descriptors that are not taken are closed with it. */
export class Inheritance implements Disposable {
  readonly state: UpgradeState;
  readonly #descriptors: Map<string, Descriptor>;

  private constructor({ descriptors, ...state }: StateFile) {
    this.state = state;
    this.#descriptors = new Map(
      Object.entries(descriptors).map(([name, fd]) => {
        // Until now they had to outlive an exec; from here on each child that is given none must get none.
        native.setCloexec(fd, true);
        return [name, new Descriptor(fd)];
      }),
    );
  }

  /**
   * Takes it out of the environment, so that no child sees it. null when this image was started by somebody else: a variable
   * that was passed on by mistake names nothing that is this process' own.
   */
  static receive(environment: NodeJS.ProcessEnv): Inheritance | null {
    const given = environment[UPGRADE_VARIABLE];
    Reflect.deleteProperty(environment, UPGRADE_VARIABLE);
    if (given === undefined || !/^\d+$/u.test(given)) return null;
    const fd = Number(given);
    if (!isOurMemory(fd)) return null;
    const file = parseState(readFileSync(`/proc/self/fd/${fd}`, "utf8"));
    if (file.pid !== process.pid || file.startTime !== startTimeOf(process.pid)) return null;
    closeSync(fd);
    return new Inheritance(file);
  }

  /** The descriptor of that name, which is the caller's from here on. */
  take(name: string): Descriptor | null {
    const found = this.#descriptors.get(name) ?? null;
    this.#descriptors.delete(name);
    return found;
  }

  /** What a keeper would have given back. The descriptors are the caller's. */
  takeKept(): Map<string, Descriptor> {
    const kept = [...this.#descriptors].filter(([name]) =>
      /^(?:slot|notify|channel|store|handoff)\//u.test(name),
    );
    for (const [name] of kept) this.#descriptors.delete(name);
    return new Map(kept);
  }

  [Symbol.dispose](): void {
    for (const descriptor of this.#descriptors.values()) descriptor.close();
    this.#descriptors.clear();
  }
}

function isOurMemory(fd: number): boolean {
  try {
    return fstatSync(fd).isFile() && readlinkSync(`/proc/self/fd/${fd}`).startsWith(`/memfd:${MEMFD}`);
  } catch {
    return false;
  }
}
