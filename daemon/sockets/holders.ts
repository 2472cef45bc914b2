/** Who has the sockets open that a daemon found when it started, looked up once for everything that a start asks. */
import type { Descriptor } from "../../handoff/descriptor.ts";
import { parseSlotName } from "../../handoff/listener.ts";
import type { Holder } from "../../handoff/slot.ts";
import { holdersOf } from "../proc.ts";

/** By inode, those that have it open. The same map each time. */
export type LookForHolders = () => Promise<ReadonlyMap<number, readonly Holder[]>>;

/**
 * A look goes through every process of the host, and hundreds of listeners and services ask. Sockets that are opened later have no
 * holders: nobody but this process has them. `except`: whoever holds them for the daemon.
 */
export function lookOnce(
  kept: ReadonlyMap<string, Descriptor>,
  given: readonly { readonly descriptor: Descriptor }[],
  except: () => ReadonlySet<number>,
): LookForHolders {
  const slots = [...kept].filter(([name]) => parseSlotName(name) !== null).map(([, slot]) => slot);
  const inodes = new Set(
    [...slots, ...given.map(({ descriptor }) => descriptor)].map((each) => each.inode()),
  );
  let found: ReturnType<LookForHolders> | null = null;
  return () => (found ??= inodes.size === 0 ? Promise.resolve(new Map()) : holdersOf(inodes, except()));
}
