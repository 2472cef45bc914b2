/** How a daemon came into the world, and how it goes on as another. */
import type { Upgrade } from "../admin-api/schemas.ts";
import type { Given } from "../handoff/service-manager.ts";
import type { Config } from "./config/config.ts";
import type { Inheritance } from "./upgrade-state.ts";

export interface Beginning {
  /** Reads the configuration again. Throws CONFIG_*. */
  readonly load: () => Config;
  /** By the service manager. It is the supervisor's. */
  readonly given: readonly Given[];
  /** null: it was started. */
  readonly inherited: Inheritance | null;
  /** See Operations.upgrade. */
  readonly upgrade: (requestedBy: string) => Promise<Upgrade>;
}
