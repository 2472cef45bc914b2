/** The end of listeners that nobody goes on with. */
import type { Logger } from "pino";
import type { Listener } from "../../handoff/listener.ts";

/** Closes them one after the other. Says who is reset by that; one that cannot be closed does not keep the others open. */
export async function closeListeners(listeners: Iterable<Listener>, log: Logger): Promise<void> {
  for (const listener of listeners) {
    try {
      const lost = await listener.close();
      if (lost > 0) {
        log.warn(
          { listener: listener.name, connections: lost },
          "connections were waiting when the listener was closed: they are reset",
        );
      }
    } catch (error) {
      // The keeper lets go of everything in the end.
      log.error({ err: error, listener: listener.name }, "a listener could not be closed");
    }
  }
}
