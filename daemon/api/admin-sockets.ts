/**
 * The sockets by which the daemon is spoken to, opened here and nowhere else: who is to hold them over the daemon's
 * death gets them from here. They are the daemon's own; no generation gets one.
 *
 * systemd's fdstore holds them: whoever connects while it starts the next daemon waits for that. handoff-keeper does not, since nobody
 * may ever start another daemon there: a client is refused at once.
 */
import { chmodSync, chownSync, rmSync } from "node:fs";
import { formatHostPort, type TcpAddress } from "../../handoff/address.ts";
import { hasCode, messageOf } from "../../handoff/coded-error.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { FdStore } from "../../handoff/fdstore.ts";
import { native, SO } from "../../handoff/native.ts";
import type { AdminSocketConfig, Config } from "../config/config.ts";
import { addressNotHad, adminSocketInUse, cannotPrepare } from "../errors.ts";

const BACKLOG = 512;

/** As the store, and an image of the daemon, names them for the next. */
const ADMIN_SOCKETS = ["admin/socket", "admin/http", "admin/metrics"] as const;
type AdminSocketName = (typeof ADMIN_SOCKETS)[number];

/** What there is already. */
interface Source {
  /** The caller's from here on. */
  readonly take: (name: AdminSocketName) => Descriptor | null;
}

/** Bound and listening. They are the holder's. */
export interface AdminSockets extends Disposable {
  readonly unix: Descriptor;
  readonly http: Descriptor | null;
  readonly metrics: Descriptor | null;
}

/** Those of the daemon before. What is not taken is closed with it. */
export interface StoredAdminSockets extends Source, Disposable {
  /** What systemd's store holds of them. */
  readonly names: readonly AdminSocketName[];
}

/**
 * Takes them out of what systemd's store gave. One that is not where the configuration wants it by now is let go of, so that its
 * address is free.
 */
export async function storedAdminSockets(
  kept: Map<string, Descriptor>,
  { admin, metrics }: Pick<Config, "admin" | "metrics">,
): Promise<StoredAdminSockets> {
  const isUsable: Readonly<Record<AdminSocketName, (found: Descriptor) => boolean>> = {
    "admin/socket": (found) => isBoundTo(found, admin.socket.path),
    "admin/http": (found) => admin.http !== null && isAt(found, admin.http.address),
    "admin/metrics": (found) => metrics !== null && isAt(found, metrics.address),
  };
  const stored = new Map<AdminSocketName, Descriptor>();
  const wrong = new Map<AdminSocketName, Descriptor>();
  for (const name of ADMIN_SOCKETS) {
    const found = kept.get(name);
    if (found !== undefined) (isUsable[name](found) ? stored : wrong).set(name, found);
    kept.delete(name);
  }
  await forgetAdminSockets(wrong);
  for (const descriptor of wrong.values()) descriptor.close();
  return {
    names: [...stored.keys()],
    take: (name) => {
      const found = stored.get(name) ?? null;
      stored.delete(name);
      if (found !== null && name === "admin/socket") giveAccess(admin.socket);
      return found;
    },
    [Symbol.dispose]: () => {
      for (const left of stored.values()) left.close();
    },
  };
}

/** Has systemd close those of `kept`: where no daemon can run, clients are better refused than left waiting. */
export async function forgetAdminSockets(kept: ReadonlyMap<string, unknown>): Promise<void> {
  const names = ADMIN_SOCKETS.filter((name) => kept.has(name));
  if (names.length > 0) await FdStore.find(process.env, names)?.remove(names);
}

/**
 * Throws a CodedError when one cannot be had, and then none is left
 * open. Those that `source` has are the ones that are gone on with.
 */
export function openAdminSockets(
  { admin, metrics }: Pick<Config, "admin" | "metrics">,
  source: Source,
): AdminSockets {
  const opened: Descriptor[] = [];
  const keep = (descriptor: Descriptor): Descriptor => {
    opened.push(descriptor);
    return descriptor;
  };
  const dispose = (): void => {
    for (const descriptor of opened) descriptor.close();
  };
  try {
    // The unix socket last: it replaces what a dead daemon has left, and the others may fail.
    const { http: api } = admin;
    const http = api === null ? null : keep(source.take("admin/http") ?? openTcp(api.address, "admin.http"));
    const own =
      metrics === null ? null : keep(source.take("admin/metrics") ?? openTcp(metrics.address, "metrics"));
    const unix = keep(source.take("admin/socket") ?? openUnix(admin.socket));
    return { unix, http, metrics: own, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** Whether nobody outside the host can reach the address. */
export function isLoopback({ host }: TcpAddress): boolean {
  return host === "::1" || host.startsWith("127.");
}

/** `127.0.0.1:9700`: what the kernel has made of the address. */
export function boundTo(descriptor: Descriptor): string {
  const address = native.localAddress(descriptor.fd);
  return address.family === "unix" ? address.path : formatHostPort(address);
}

function openTcp(address: TcpAddress, key: string): Descriptor {
  const descriptor = new Descriptor(native.socket(address.family, "stream", true));
  try {
    // Without SO_REUSEPORT: nobody of the same user may take a part of its connections.
    native.setOption(descriptor.fd, SO.SOL_SOCKET, SO.SO_REUSEADDR, 1);
    native.bind(descriptor.fd, address);
    native.listen(descriptor.fd, BACKLOG);
    return descriptor;
  } catch (error) {
    descriptor.close();
    const why = hasCode(error, "EADDRINUSE") ? "another process listens there" : messageOf(error);
    throw addressNotHad(key, formatHostPort(address), why, error);
  }
}

/** Replaces the leftover of a dead daemon, never a socket that someone listens on. */
function openUnix(socket: AdminSocketConfig): Descriptor {
  const { path } = socket;
  if (isListening(path)) throw adminSocketInUse(path);
  const descriptor = new Descriptor(native.socket("unix", "stream", true));
  try {
    rmSync(path, { force: true });
    native.bind(descriptor.fd, { family: "unix", path });
    giveAccess(socket);
    native.listen(descriptor.fd, BACKLOG);
    return descriptor;
  } catch (error) {
    descriptor.close();
    const why = hasCode(error, "ENOENT") ? "its directory does not exist" : messageOf(error);
    throw cannotPrepare(path, `the admin socket cannot be opened: ${why}`, error);
  }
}

function giveAccess({ path, mode, group }: AdminSocketConfig): void {
  chmodSync(path, mode);
  const gid = group === null ? null : native.lookupGroup(group);
  if (gid !== null) chownSync(path, -1, gid);
}

/** Whether it is the one that is found at that path. */
function isBoundTo(descriptor: Descriptor, path: string): boolean {
  const bound = native.localAddress(descriptor.fd);
  return bound.family === "unix" && bound.path === path && isListening(path);
}

function isAt(descriptor: Descriptor, { host, port }: TcpAddress): boolean {
  const bound = native.localAddress(descriptor.fd);
  return bound.family !== "unix" && bound.host === host && (port === 0 || bound.port === port);
}

function isListening(path: string): boolean {
  using probe = new Descriptor(native.socket("unix", "stream", true));
  try {
    native.connect(probe.fd, { family: "unix", path });
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT", "ECONNREFUSED", "ENOTSOCK", "ENOTDIR")) return false;
    throw cannotPrepare(path, `the admin socket cannot be opened: ${messageOf(error)}`, error);
  }
}

/** The descriptors that the next daemon goes on with. They stay the holder's. */
export function namesOf({ unix, http, metrics }: AdminSockets): ReadonlyMap<AdminSocketName, number> {
  return new Map([
    ["admin/socket", unix.fd] as const,
    ...(http === null ? [] : [["admin/http", http.fd] as const]),
    ...(metrics === null ? [] : [["admin/metrics", metrics.fd] as const]),
  ]);
}
