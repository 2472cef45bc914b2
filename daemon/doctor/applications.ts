/** Listening sockets that applications have opened by themselves, in their own network namespace: the kernel's table, and /proc. */
import { setImmediate as turn } from "node:timers/promises";
import { native, TCP } from "../../handoff/native.ts";
import { commandOf, familyOf, socketsOf } from "../proc.ts";
import type { OwnSocket } from "./facts.ts";

export interface Application {
  readonly service: string;
  /** Of its instances. */
  readonly pids: readonly number[];
}

/** `given`: inodes of what was handed over. What may not be looked into (another user's, without privileges) is not seen. */
export async function ownSocketsOf(
  applications: readonly Application[],
  given: ReadonlySet<number>,
): Promise<readonly OwnSocket[]> {
  if (applications.length === 0) return [];
  const listening = new Map(
    (["inet", "inet6"] as const)
      .flatMap((family) => native.diagSockets(family, 1 << TCP.LISTEN, 0))
      .filter(({ inode }) => inode !== 0 && !given.has(inode))
      .map((socket) => [socket.inode, socket]),
  );
  const found = new Map<number, OwnSocket>();
  for (const { service, pids } of applications) {
    for (const pid of pids.flatMap((each) => familyOf(each))) {
      // Reading /proc takes its time, and the daemon has more to do.
      await turn();
      for (const inode of socketsOf(pid)) {
        const socket = listening.get(inode);
        if (socket === undefined || found.has(inode)) continue;
        found.set(inode, {
          service,
          pid,
          command: commandOf(pid),
          host: socket.localHost,
          port: socket.localPort,
        });
      }
    }
  }
  return [...found.values()];
}
