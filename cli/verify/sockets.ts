/** Which listening sockets a family of processes has, and which of them are the private daemon's. */
import { readFileSync } from "node:fs";
import { commandOf, familyOf, socketsOf } from "../../daemon/proc.ts";
import { native, TCP } from "../../handoff/native.ts";
import type { Where } from "./ask.ts";
import type { SocketUse } from "./observations.ts";

interface Listening {
  /** Of the private daemon's listeners. */
  readonly ours: ReadonlySet<number>;
  /** Of everybody else, with the address. */
  readonly others: ReadonlyMap<number, string>;
}

/** `folder`: where the daemon's unix sockets are. */
export function listening(places: readonly Where[], folder: string): Listening {
  const ports = new Set(places.flatMap((place) => ("port" in place ? [place.port] : [])));
  const ours = new Set(unixSockets(folder, places));
  const others = new Map<number, string>();
  for (const family of ["inet", "inet6"] as const) {
    for (const { inode, localHost, localPort } of native.diagSockets(family, 1 << TCP.LISTEN, 0)) {
      if (ports.has(localPort)) ours.add(inode);
      else others.set(inode, `${localHost.includes(":") ? `[${localHost}]` : localHost}:${localPort}`);
    }
  }
  return { ours, others };
}

/** Of this daemon: an abstract name is shown with "@". */
function unixSockets(folder: string, places: readonly Where[]): number[] {
  const names = places.flatMap((place) =>
    "path" in place && place.path.startsWith("\0") ? [`@${place.path.slice(1)}`] : [],
  );
  return boundSockets((path) => path.startsWith(`${folder}/`) || names.includes(path));
}

/** The inodes of unix sockets by what they are bound to: the last column of /proc/net/unix (proc_net(5)). */
export function boundSockets(isMeant: (path: string) => boolean): number[] {
  return readFileSync("/proc/net/unix", "latin1")
    .split("\n")
    .map((line) => line.trim().split(/\s+/u))
    .filter(([, , , , , , , path]) => path !== undefined && isMeant(path))
    .map((fields) => Number(fields[6]));
}

/** What the processes of one generation do with sockets. */
export function socketUse(
  generation: number,
  pids: readonly number[],
  { ours, others }: Listening,
): SocketUse {
  const family = [...new Set(pids.flatMap((pid) => familyOf(pid)))];
  const sockets = family.map((pid) => ({ pid, inodes: [...socketsOf(pid)] }));
  const holds = ({ inodes }: { readonly inodes: readonly number[] }): boolean =>
    inodes.some((inode) => ours.has(inode));
  const child = sockets.find(({ pid, inodes }) => !pids.includes(pid) && !holds({ inodes }));
  const elsewhere = sockets.flatMap(({ inodes }) => inodes.flatMap((inode) => others.get(inode) ?? []));
  const hasOurs = sockets.some(holds);
  return {
    generation,
    elsewhere: elsewhere[0] ?? null,
    hasOurs,
    childWithout: hasOurs && child !== undefined ? commandOf(child.pid) : null,
  };
}
