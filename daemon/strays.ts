/**
 * Children that an image of the daemon has left and that no record names: an acceptor that was told to finish, a command that
 * was killed, the group of an instance that has ended. The next image is their parent, and nobody else would reap them.
 */
import { Process, startTimeOf } from "../handoff/process.ts";
import { endGroup, within } from "./generation/ending.ts";
import { childrenOf } from "./proc.ts";
import type { Service } from "./service/service.ts";

/** Gives each the longest time that any drain has, and then ends it with its group. The keeper is only reaped. */
export function endStrays(services: readonly Service[], keeper: number | null): void {
  const known = new Set(services.flatMap(({ generations }) => generations).flatMap(({ pids }) => pids));
  const patienceMs = Math.max(0, ...services.map(({ config }) => config.drain.timeoutMs));
  for (const pid of childrenOf(process.pid)) {
    if (known.has(pid)) continue;
    const stray = Process.adopt(pid, startTimeOf(pid) ?? "");
    if (stray === null) continue;
    if (pid === keeper) stray.abandon();
    else void endGroup(stray, null, within(patienceMs), () => undefined);
  }
}
