/** What the daemon tells systemd (sd_notify(3)). By the addon: what is sent later will carry descriptors. */
import { Descriptor } from "../handoff/descriptor.ts";
import { native } from "../handoff/native.ts";

/** Sends one state to NOTIFY_SOCKET; does nothing where there is none. */
export function notifySystemd(state: string): void {
  const path = process.env["NOTIFY_SOCKET"];
  if (path === undefined || path === "") return;
  using socket = new Descriptor(native.socket("unix", "dgram", false));
  native.connect(socket.fd, { family: "unix", path: path.replace(/^@/u, "\0") });
  native.sendMessage(socket.fd, new TextEncoder().encode(state), []);
}
