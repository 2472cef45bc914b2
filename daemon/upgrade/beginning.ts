/** How a daemon came into the world, and how it goes on as another. */
import type { Upgrade } from "../../admin-api/schemas.ts";
import type { sortGiven } from "../../handoff/fdstore.ts";
import type { ReloadSources } from "../reload/reload.ts";
import type { Inheritance } from "./upgrade-state.ts";

export interface Beginning {
  /** What a reload reads. */
  readonly sources: ReloadSources;
  /** By the service manager. It is the supervisor's. */
  readonly given: ReturnType<typeof sortGiven>;
  /** Of that the daemon's own sockets, by what the service manager calls them, which somebody else has taken. */
  readonly own: readonly string[];
  /** null: it was started. */
  readonly inherited: Inheritance | null;
  /** See Operations.upgrade. */
  readonly upgrade: (requestedBy: string) => Promise<Upgrade>;
}
