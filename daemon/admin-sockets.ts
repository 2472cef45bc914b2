/**
 * The sockets by which the daemon is spoken to, opened here and nowhere else: who is to hold them over the daemon's
 * death gets them from here. They are the daemon's own; no generation gets one.
 */
import { chmodSync, chownSync, rmSync } from "node:fs";
import { formatHostPort, type TcpAddress } from "../handoff/address.ts";
import { hasCode, messageOf } from "../handoff/coded-error.ts";
import { Descriptor } from "../handoff/descriptor.ts";
import { native, SO } from "../handoff/native.ts";
import type { AdminSocketConfig, Config } from "./config/config.ts";
import { addressNotHad, adminSocketInUse, cannotPrepare } from "./errors.ts";
import type { Inheritance } from "./upgrade-state.ts";

const BACKLOG = 512;

/** As an image of the daemon names them for the next. */
type AdminSocketName = "admin/socket" | "admin/http" | "admin/metrics";

/** Bound and listening. They are the holder's. */
export interface AdminSockets extends Disposable {
  readonly unix: Descriptor;
  readonly http: Descriptor | null;
  readonly metrics: Descriptor | null;
}

/**
 * Throws a CodedError when one cannot be had, and then none is left
 * open. Those of `inherited` are the ones that this image goes on with.
 */
export function openAdminSockets(
  { admin, metrics }: Pick<Config, "admin" | "metrics">,
  inherited: Pick<Inheritance, "take"> | null,
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
    const given = (name: AdminSocketName) => inherited?.take(name) ?? null;
    const { http: api } = admin;
    const http = api === null ? null : keep(given("admin/http") ?? openTcp(api.address, "admin.http"));
    const own = metrics === null ? null : keep(given("admin/metrics") ?? openTcp(metrics.address, "metrics"));
    const unix = keep(given("admin/socket") ?? openUnix(admin.socket));
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
function openUnix({ path, mode, group }: AdminSocketConfig): Descriptor {
  if (isListening(path)) throw adminSocketInUse(path);
  const descriptor = new Descriptor(native.socket("unix", "stream", true));
  try {
    rmSync(path, { force: true });
    native.bind(descriptor.fd, { family: "unix", path });
    chmodSync(path, mode);
    const gid = group === null ? null : native.lookupGroup(group);
    if (gid !== null) chownSync(path, -1, gid);
    native.listen(descriptor.fd, BACKLOG);
    return descriptor;
  } catch (error) {
    descriptor.close();
    const why = hasCode(error, "ENOENT") ? "its directory does not exist" : messageOf(error);
    throw cannotPrepare(path, `the admin socket cannot be opened: ${why}`, error);
  }
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

/** The descriptors that the next image goes on with. They stay the holder's. */
export function namesOf({ unix, http, metrics }: AdminSockets): ReadonlyMap<AdminSocketName, number> {
  return new Map([
    ["admin/socket", unix.fd] as const,
    ...(http === null ? [] : [["admin/http", http.fd] as const]),
    ...(metrics === null ? [] : [["admin/metrics", metrics.fd] as const]),
  ]);
}
