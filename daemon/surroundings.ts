/** What every part of the daemon needs of the whole, handed down from the composition root. */
import type { Logger } from "pino";
import type { EventDraft } from "../admin-api/events.ts";
import type { Keeper } from "../handoff/keeper.ts";
import type { Doors } from "./external/doors.ts";
import type { History } from "./state/history.ts";
import type { Tally } from "./metrics.ts";
import type { Moves } from "./generation/moves.ts";

export interface Surroundings {
  /** Absolute. */
  readonly runtime: string;
  readonly state: string;
  readonly keeper: () => Keeper;
  /** Where the processes come in that someone else starts. */
  readonly doors: Doors;
  /** /dev/null, open for reading and writing. */
  readonly devNull: number;
  readonly log: Logger;
  readonly tally: Tally;
  /** Connections that go from those who end to those who go on. */
  readonly moves: Moves;
  readonly history: History;
  /** Says what happened: one line in the log, one event for readers of the API. */
  readonly say: (event: EventDraft, level?: "info" | "warn" | "error") => void;
  /** Open connections that bear one of these marks; null when connections are not marked. */
  readonly connectionsOf: (marks: readonly number[]) => number | null;
  /** Open connections by mark; null when connections are not marked. Costs a dump of the kernel's table. */
  readonly connections: () => ReadonlyMap<number, number> | null;
  /** A generation has changed, or a deploy has ended: what is being removed may be free by now. */
  readonly changed: () => void;
  /** Pids of processes that hold slots because they are told to: the daemon's own and the keeper's. */
  readonly keepers: () => ReadonlySet<number>;
}
