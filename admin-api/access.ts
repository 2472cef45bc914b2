/**
 * Who is at the other end of a connection. On the unix socket the kernel knows (SO_PEERCRED): the credentials of
 * the process that connected, at the time when it did. Who may connect at all is the socket file's owner and mode.
 */
import type { Socket } from "node:net";

import { native } from "../handoff/native.ts";
import type { Caller } from "./operations.ts";

/** Node keeps the handle to itself, but there is no other way to the descriptor of an accepted connection. */
interface WithHandle {
  readonly _handle?: { readonly fd?: number } | null;
}

/** Throws when the connection is closed already or is not a unix socket's. */
export function peerOf(socket: Socket): Caller {
  const descriptor = (socket as unknown as WithHandle)._handle?.fd ?? -1;
  if (descriptor < 0) throw new Error("the connection was closed before its peer could be asked for");
  const { pid, uid, gid } = native.peerCredentials(descriptor);
  return { transport: "unix", pid, uid, gid, name: nameOf(uid) };
}

function nameOf(uid: number): string {
  const user = native.lookupUser(uid);
  return user === null ? `uid ${uid}` : `${user.name} (uid ${uid})`;
}
