/** Looks at the daemon again and again, and hears its events in between. */
import { setTimeout as delay } from "node:timers/promises";

import type { Event } from "../admin-api/schemas.ts";
import { messageOf } from "../handoff/coded-error.ts";
import type { Seen } from "./render-top.ts";
import type { Session } from "./session.ts";

const LOOK_EVERY_MS = 1_000;
const EVENTS = 64;

/**
 * Calls `show` with what is seen: each second, at once when something happens, and when the daemon cannot be reached any more.
 * Rejects when the first look fails. Resolves when `signal` is aborted.
 */
export async function watch(
  session: Session,
  show: (seen: Seen) => void,
  signal: AbortSignal,
): Promise<void> {
  const { client } = session;
  let seen: Seen = { status: await client.status(), events: [], trouble: null };
  const look = async (): Promise<void> => {
    try {
      seen = { ...seen, status: await client.status(), trouble: null };
    } catch (error) {
      seen = { ...seen, trouble: messageOf(error) };
    }
    if (!signal.aborted) show(seen);
  };
  const hear = (event: Event): void => {
    seen = { ...seen, events: [...seen.events, event].slice(-EVENTS) };
    show(seen);
  };
  show(seen);
  const timer = setInterval(() => void look(), LOOK_EVERY_MS);
  await listen(session, hear, signal);
  clearInterval(timer);
}

/** A daemon that is away is said by the looks; when it is back, its events go on where they were. */
async function listen({ client }: Session, hear: (event: Event) => void, signal: AbortSignal): Promise<void> {
  let since = 0;
  while (!signal.aborted) {
    try {
      for await (const message of client.events({ since, signal })) {
        if (message.kind !== "event") continue;
        since = message.event.id;
        hear(message.event);
      }
    } catch {
      // Lost, or over.
    }
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}
