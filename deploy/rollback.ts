/**
 * What "roll this service back" means now.
 *
 * Releases are a stack. A deploy that succeeded puts its version on top, unless it is there already (a restart). A
 * rollback that succeeded takes off everything above the version it went back to: a release that was rolled back is
 * not "previous" to anything. So rollback after rollback goes further back each time and then says that there is
 * nothing left; it never comes back to what was just left. Who wants that again deploys it by name.
 *
 *   deployed 1, 2, 3         stack 1 2 3     rollback → 2
 *   … rolled back to 2       stack 1 2       rollback → 1
 *   … deployed 4             stack 1 2 4     rollback → 2
 *   … deployed 1 by name     stack 1 2 4 1   rollback → 4
 *
 * A deploy that is shifting or baking is rolled back itself, whatever it is, a rollback included: its previous
 * generation is warm, and the one who asks means what happens now.
 */
import { type Deployment, hasHadUsers, isUnderway } from "./deployment.ts";
import { noPreviousRelease, notShifted, rollingBack } from "./errors.ts";

export type RollbackDecision =
  /** Ask it of this deploy: `Runner.request("rollback")`. */
  | { readonly do: "wish"; readonly deploy: string }
  /** Begin a deploy of this version with `isRollback: true`. Null is a release without a version. */
  | { readonly do: "deploy"; readonly version: string | null };

/** `history`: the service's deploys that are known, the newest first. Throws the refusal as a CodedError. */
export function decideRollback(service: string, history: readonly Deployment[]): RollbackDecision {
  const [latest] = history;
  if (latest !== undefined && isUnderway(latest)) {
    if (!hasHadUsers(latest)) throw notShifted(latest);
    return { do: "wish", deploy: latest.id };
  }
  // Asked twice in a row: the second must not go back by one release more.
  if (latest?.phase === "rolling-back") throw rollingBack(latest);
  const releases = releasesOf(history);
  const previous = releases.at(-2);
  if (previous === undefined) throw noPreviousRelease(service, releases.at(-1) ?? null);
  return { do: "deploy", version: previous };
}

/** The stack; its last one is current. */
function releasesOf(history: readonly Deployment[]): readonly (string | null)[] {
  let releases: readonly (string | null)[] = [];
  for (const { phase, version, isRollback } of history.toReversed()) {
    if (phase !== "succeeded" && phase !== "draining") continue;
    // One that is not in the part of the history that was kept (-1) leaves nothing that is known to lie below it.
    const below = isRollback ? releases.slice(0, Math.max(0, releases.lastIndexOf(version))) : releases;
    if (isRollback || releases.at(-1) !== version) releases = [...below, version];
  }
  return releases;
}
