/**
 * The end of a listener, for its clients: from now on connect(2) is refused at once, as if nobody listened there, while what the
 * kernel has taken already stays. shutdown(2) and close(2) would reset it.
 *
 * TCP: the sockets are bound to an interface that does not exist, so that no SYN finds them (compute_score in
 * net/ipv4/inet_hashtables.c) and the kernel answers with RST. Handshakes under way are sockets of their own, found by their four
 * numbers; they end in the listener's queue (tcp_check_req). Measured: 100 queued and 100 half-open connections, all accepted
 * and answered afterwards, by IPv4, IPv6 and dual-stack, as root and as nobody. Only a handshake that lives in a SYN cookie, while a
 * flood lasts, ends with it. Binding needs no privilege (Linux 5.7), binding back does: there is no way back.
 *
 * A unix socket loses its path. An abstract one has no way to refuse: it takes connections until it is closed.
 */
import { lstatSync, rmSync } from "node:fs";
import type { Listener } from "./listener.ts";
import { native, SO } from "./native.ts";

/** INT_MAX: the kernel numbers interfaces from 1 on. */
const NOWHERE = 0x7fff_ffff;

/** Doing so twice is once. */
export function refuseNew(listener: Listener): void {
  switch (listener.protocol) {
    case "tcp":
      for (const slot of listener.slots) {
        if (!isNowhere(slot.fd)) native.setOption(slot.fd, SO.SOL_SOCKET, SO.SO_BINDTOIFINDEX, NOWHERE);
      }
      return;
    case "unix":
      // What else may stand there by now is not ours, and stays.
      if (hasPath(listener)) rmSync(listener.address, { force: true });
  }
}

/** Whether `refuseNew` was said, by this process or one before it: the kernel remembers. */
export function refusesNew(listener: Listener): boolean {
  switch (listener.protocol) {
    case "tcp":
      return listener.slots.some(({ fd }) => isNowhere(fd));
    case "unix":
      return listener.mode === "renamed" && !hasPath(listener);
  }
}

function isNowhere(fd: number): boolean {
  return native.getOption(fd, SO.SOL_SOCKET, SO.SO_BINDTOIFINDEX) === NOWHERE;
}

function hasPath({ mode, address }: Listener): boolean {
  return mode === "renamed" && lstatSync(address, { throwIfNoEntry: false })?.isSocket() === true;
}
