/**
 * Mode and owner of a bound socket's file. Its folder may be the application's, who may put a link to anything at the path at any moment:
 * so the file is had from the socket itself (SIOCUNIXFILE), never from the path. That takes CAP_NET_ADMIN; without it the path is looked
 * at, no link is followed, and what is no socket is left alone.
 */
import { chmodSync, chownSync, constants, fstatSync, openSync } from "node:fs";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { native } from "./native.ts";

/** open(2); Node has no name for it. */
const O_PATH = 0o10000000;

/** `mode` and the rest as of chmod(2) and chown(2): -1 changes nothing. The socket stays the caller's. Throws an error with a code. */
export function setSocketAccess(socket: number, path: string, mode: number, uid: number, gid: number): void {
  using file = socketFile(socket, path);
  const itself = `/proc/self/fd/${file.fd}`;
  if (uid !== -1 || gid !== -1) chownSync(itself, uid, gid);
  chmodSync(itself, mode);
}

function socketFile(socket: number, path: string): Descriptor {
  try {
    return new Descriptor(native.boundFile(socket));
  } catch (error) {
    if (!hasCode(error, "EPERM", "ENOTTY", "EINVAL")) throw error;
  }
  const file = new Descriptor(openSync(path, O_PATH | constants.O_NOFOLLOW));
  if (fstatSync(file.fd).isSocket()) return file;
  file.close();
  throw Object.assign(new Error(`what is at ${path} is not the socket that was bound there`), {
    code: "ENOTSOCK",
  });
}
