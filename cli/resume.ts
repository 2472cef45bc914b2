/**
 * A stream of events that outlives its connections: when the daemon is replaced or restarted, it goes on after the
 * last event that was seen. For ten seconds; then nobody knows, and the caller says so.
 */
import { setTimeout as delay } from "node:timers/promises";

import type { StreamMessage } from "../admin-api/client.ts";
import { hasCode } from "../handoff/coded-error.ts";
import { reconnectedInVain } from "./errors.ts";
import type { Session } from "./session.ts";

const RECONNECT_FOR_MS = 10_000;
const RECONNECT_EVERY_MS = 200;

/** `open` is called with the id of the newest event that was seen, 0 before the first. Ends after `end`. */
export async function* resumed(
  { now, warn }: Session,
  open: (since: number) => AsyncGenerator<StreamMessage>,
): AsyncGenerator<StreamMessage> {
  let since = 0;
  let lostAt: number | null = null;
  for (;;) {
    try {
      for await (const message of open(since)) {
        if (lostAt !== null) warn("connected to handoffd again");
        lostAt = null;
        if (message.kind === "event") since = message.event.id;
        yield message;
        if (message.kind === "end") return;
      }
    } catch (error) {
      if (!hasCode(error, "DAEMON_NOT_REACHABLE", "DAEMON_STOPPING")) throw error;
      if (lostAt === null) {
        lostAt = now();
        warn(`the connection to handoffd was lost; trying again for ${RECONNECT_FOR_MS / 1000} s`);
      } else if (now() - lostAt >= RECONNECT_FOR_MS) {
        throw reconnectedInVain(RECONNECT_FOR_MS / 1000, error);
      }
      await delay(RECONNECT_EVERY_MS);
    }
  }
}
