/** How a daemon came into the world, and how it goes on as another. */
import type { Upgrade } from "../admin-api/schemas.ts";
import type { Given } from "../handoff/service-manager.ts";
import type { ReloadSources } from "./reload.ts";
import type { Inheritance } from "./upgrade-state.ts";

export interface Beginning {
  /** What a reload reads. */
  readonly sources: ReloadSources;
  /** By the service manager. It is the supervisor's. */
  readonly given: readonly Given[];
  /** null: it was started. */
  readonly inherited: Inheritance | null;
  /** See Operations.upgrade. */
  readonly upgrade: (requestedBy: string) => Promise<Upgrade>;
}
