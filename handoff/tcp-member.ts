/**
 * One listening socket at a TCP address, as a member of its SO_REUSEPORT group: opened only where nobody else listens, with an error
 * that names who does.
 */
import { formatHostPort, type TcpAddress } from "./address.ts";
import { hasCode, messageOf } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { addressInUse, cannotListen } from "./errors.ts";
import type { ListenerOptions } from "./listener.ts";
import { native, SO, TCP } from "./native.ts";

/**
 * SO_REUSEPORT would let us in beside a process of our own uid, and take connections from it. Throws
 * LISTENER_ADDRESS_IN_USE instead.
 */
export function assertUnused(options: ListenerOptions, address: TcpAddress): void {
  if (address.port === 0) return;
  const taken = native
    .diagSockets(address.family, 1 << TCP.LISTEN, address.port)
    .find(({ localHost }) => overlap(localHost, address.host));
  if (taken !== undefined) {
    throw addressInUse(formatHostPort(address), options.holderOf(taken.inode), null);
  }
}

/** Whether one of the two addresses gets connections that were the other's (the more specific one wins). */
export function overlap(one: string, other: string): boolean {
  return one === other || [one, other].some((host) => host === "0.0.0.0" || host === "::");
}

/** A listening member of the group at `address`; the caller owns it. */
export function listenOn(options: ListenerOptions, address: TcpAddress): Descriptor {
  const descriptor = new Descriptor(native.socket(address.family, "stream", false));
  try {
    native.setOption(descriptor.fd, SO.SOL_SOCKET, SO.SO_REUSEADDR, 1);
    native.setOption(descriptor.fd, SO.SOL_SOCKET, SO.SO_REUSEPORT, 1);
    native.bind(descriptor.fd, address);
    native.listen(descriptor.fd, options.backlog);
    return descriptor;
  } catch (error) {
    descriptor.close();
    throw explain(options, address, error);
  }
}

function explain(options: ListenerOptions, address: TcpAddress, error: unknown): Error {
  const shown = formatHostPort(address);
  if (hasCode(error, "EADDRINUSE")) {
    const holder = native
      .diagSockets(address.family, 1 << TCP.LISTEN, address.port)
      .map(({ inode }) => options.holderOf(inode))
      .find((name) => name !== null);
    return addressInUse(shown, holder ?? null, error);
  }
  if (hasCode(error, "EACCES")) {
    return cannotListen(
      shown,
      "ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= in a unit) or a higher port",
      error,
    );
  }
  if (hasCode(error, "EADDRNOTAVAIL")) {
    return cannotListen(
      shown,
      "this host has no such address; use one of its own, or 0.0.0.0 for all",
      error,
    );
  }
  return cannotListen(shown, messageOf(error), error);
}
