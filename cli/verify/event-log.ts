/** All that a daemon says while it runs, from its first event on. */
import type { Client } from "../../admin-api/client.ts";
import type { Event } from "../../admin-api/schemas.ts";
import { hasCode } from "../../handoff/coded-error.ts";

export class EventLog {
  readonly events: Event[] = [];
  readonly #looks = new Set<() => void>();
  readonly #stopping = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  static follow(client: Client): EventLog {
    const log = new EventLog();
    log.#ended = log.#follow(client);
    log.#ended.catch(() => undefined); // Whoever stops it has the error.
    return log;
  }

  /** Resolves as soon as `find` finds something in an event, of those before as well. Rejects with the signal's reason. */
  async until<T>(find: (event: Event) => T | null, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      let next = 0;
      const look = (): void => {
        for (; next < this.events.length; next++) {
          const event = this.events[next];
          const found = event === undefined ? null : find(event);
          if (found === null) continue;
          this.#looks.delete(look);
          signal.removeEventListener("abort", fail);
          resolve(found);
          return;
        }
      };
      const fail = (): void => {
        this.#looks.delete(look);
        reject(signal.reason as Error);
      };
      signal.addEventListener("abort", fail, { once: true });
      this.#looks.add(look);
      look();
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
  }

  async #follow(client: Client): Promise<void> {
    try {
      for await (const message of client.events({ since: 0, signal: this.#stopping.signal })) {
        if (message.kind !== "event") continue;
        this.events.push(message.event);
        for (const look of [...this.#looks]) look();
      }
    } catch (error) {
      // It was told to stop, or the daemon has ended, which whoever waits for the daemon says.
      if (!hasCode(error, "DAEMON_NOT_REACHABLE")) throw error;
    }
  }
}
