/**
 * Listeners on a socket that systemd has opened (a .socket unit). One of TCP that was bound with SO_REUSEPORT (ReusePort=yes) is slot 0
 * of a steered listener. Setting that option on a listening socket does not make it one (a second socket would then get every new
 * connection), so only a trial attach tells. All others are shared.
 */
import { formatHostPort, type TcpAddress } from "./address.ts";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { cannotListen } from "./errors.ts";
import type { KeptSlots, Listener, ListenerOptions, ProbeTarget } from "./listener.ts";
import { native, SO } from "./native.ts";
import { holdShared, SharedListener } from "./shared-listener.ts";
import { Slot, tcpQueue, unixQueue } from "./slot.ts";
import { compileSteering, type Steering } from "./steering.ts";
import { TcpListener } from "./tcp-listener.ts";

const SOCK_STREAM = 1;

/** Takes ownership of the socket, also on a failure. Throws a CodedError (LISTENER_CANNOT_OPEN, KEEPER_*). */
export async function openInherited(options: ListenerOptions, descriptor: Descriptor): Promise<Listener> {
  try {
    assertListening(options.name, descriptor.fd);
    // What waits in it since before we were started stays there: listen(2) again changes the backlog only.
    native.listen(descriptor.fd, options.backlog);
    const address = tcpAddressOf(descriptor.fd);
    if (address !== null && isSteerable(descriptor.fd, address)) {
      return await TcpListener.adopt(options, address, descriptor);
    }
    return await holdShared(shared(options, descriptor));
  } catch (error) {
    descriptor.close();
    throw error;
  }
}

/** Goes on with what was kept. */
export function resumeInherited(
  options: ListenerOptions,
  kept: KeptSlots,
  { shares, ...more }: Steering,
): Listener {
  const [first] = kept;
  if (first === undefined) throw new Error("a listener without slots");
  const address = tcpAddressOf(first.fd);
  return address !== null && isSteerable(first.fd, address, kept.length)
    ? TcpListener.resume(options, kept, shares, more)
    : shared(options, first);
}

function shared(options: ListenerOptions, descriptor: Descriptor): SharedListener {
  const local = native.localAddress(descriptor.fd);
  if (local.family === "unix") {
    const shown = local.path.replace(/^\0/u, "@");
    const target: ProbeTarget = { kind: "unix", path: local.path };
    return new SharedListener(options, "unix", shown, new Slot(0, descriptor, unixQueue), target);
  }
  const any = local.family === "inet" ? "127.0.0.1" : "::1";
  const host = local.host === "0.0.0.0" || local.host === "::" ? any : local.host;
  const target: ProbeTarget = {
    kind: "tcp",
    host,
    port: local.port,
    source: local.family === "inet" ? "127.0.0.1" : "::1",
    sourcePorts: [],
  };
  return new SharedListener(options, "tcp", formatHostPort(local), new Slot(0, descriptor, tcpQueue), target);
}

/** null for what is no TCP socket. */
function tcpAddressOf(fd: number): TcpAddress | null {
  const local = native.localAddress(fd);
  return local.family === "unix"
    ? null
    : { kind: "tcp", family: local.family, host: local.host, port: local.port };
}

/** Whether a program can be attached, and whether we may bind further members beside it (only the same uid may). */
function isSteerable(fd: number, address: TcpAddress, slots = 1): boolean {
  if (native.getOption(fd, SO.SOL_SOCKET, SO.SO_REUSEPORT) === 0) return false;
  using member = new Descriptor(native.socket(address.family, "stream", false));
  try {
    if (slots === 1) {
      const program = compileSteering({
        family: address.family,
        slots: 1,
        shares: [{ slot: 0, share: 1 }],
        pins: false,
      });
      native.attachReuseportFilter(fd, program);
    }
    native.setOption(member.fd, SO.SOL_SOCKET, SO.SO_REUSEADDR, 1);
    native.setOption(member.fd, SO.SOL_SOCKET, SO.SO_REUSEPORT, 1);
    // Bound and not listening it is no member of the group yet: closing it moves nothing (kernel: inet_csk_listen_start).
    native.bind(member.fd, address);
    return true;
  } catch (error) {
    if (hasCode(error, "EINVAL", "EADDRINUSE", "EACCES")) return false;
    throw error;
  }
}

function assertListening(name: string, fd: number): void {
  const isStream = native.getOption(fd, SO.SOL_SOCKET, SO.SO_TYPE) === SOCK_STREAM;
  if (isStream && native.getOption(fd, SO.SOL_SOCKET, SO.SO_ACCEPTCONN) === 1) return;
  throw cannotListen(
    `the socket that systemd gave for ${name}`,
    "it is no listening stream socket; use ListenStream= and Accept=no in the .socket unit",
    null,
  );
}
