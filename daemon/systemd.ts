/** What the daemon tells systemd (sd_notify(3)). By the addon: what is sent later will carry descriptors. */
import type { Logger } from "pino";
import { Descriptor } from "../handoff/descriptor.ts";
import { native } from "../handoff/native.ts";

/** Sends one state to NOTIFY_SOCKET; does nothing where there is none. A service manager that is deaf is no reason to end. */
export function notifySystemd(state: string, log: Logger): void {
  const path = process.env["NOTIFY_SOCKET"];
  if (path === undefined || path === "") return;
  try {
    using socket = new Descriptor(native.socket("unix", "dgram", true));
    native.connect(socket.fd, { family: "unix", path: path.replace(/^@/u, "\0") });
    const isSent = native.sendMessage(socket.fd, new TextEncoder().encode(state), []);
    if (!isSent) log.warn({ state }, "the service manager's queue is full: it was not told");
  } catch (error) {
    log.warn({ err: error, state }, "the service manager could not be told");
  }
}
