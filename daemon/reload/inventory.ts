/**
 * What is there, whatever the configuration says by now: the listeners that are open and the services that have processes. A daemon that
 * goes on from another one's death finds in it what was being removed, and what was removed from the file while no daemon ran.
 *
 *   state/inventory.json   { "format": 1, "boot": "…", "listeners": [{ "name": "web", … }], "services": ["api"] }
 *
 * It is written before a listener is given up and after it is gone. More than is there does no harm; of this boot only.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasCode, messageOf } from "../../handoff/coded-error.ts";
import type { ListenerConfig } from "../config/config.ts";
import { cannotPrepare } from "../errors.ts";
import { bootId } from "../proc.ts";

const FORMAT = 1;

export interface Inventory {
  readonly listeners: readonly ListenerConfig[];
  readonly services: readonly string[];
}

const NOTHING: Inventory = { listeners: [], services: [] };

export class InventoryFile {
  readonly #file: string;

  constructor(state: string) {
    this.#file = join(state, "inventory.json");
  }

  /** Nothing when there is none, or when it is of another boot: its sockets and processes are gone. */
  read(): Inventory {
    let text: string;
    try {
      text = readFileSync(this.#file, "utf8");
    } catch (error) {
      if (hasCode(error, "ENOENT")) return NOTHING;
      throw error;
    }
    // Written by this program, mode 0600, replaced whole: the format's number is the promise about the rest.
    const content = JSON.parse(text) as Inventory & { readonly format: number; readonly boot: string };
    return content.format === FORMAT && content.boot === bootId() ? content : NOTHING;
  }

  /** Throws DIRECTORY_UNUSABLE; then the old one stands. */
  write({ listeners, services }: Inventory): void {
    const text = JSON.stringify({ format: FORMAT, boot: bootId(), listeners, services });
    try {
      writeFileSync(`${this.#file}.new`, text, { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
    } catch (error) {
      throw cannotPrepare(this.#file, messageOf(error), error);
    }
  }
}
