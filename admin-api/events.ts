/**
 * The last things that happened, in memory: a ring of `capacity` events. Readers come and go; none is waited for.
 *
 * Ids start at the daemon's start (microseconds since the epoch) and grow by one, so that they grow over restarts
 * too without being stored: an id that a reader brings back from an earlier life is older than all that is here,
 * and `since` says that something was missed.
 */
import type { Event } from "./schemas.ts";

/** An event before the log has numbered and dated it. */
export type EventDraft = Omit<Event, "id" | "at">;

export type EventListener = (event: Event) => void;

export interface EventsSince {
  readonly events: readonly Event[];
  /** Whether events between the asked id and the first of `events` are no longer here. */
  readonly missed: boolean;
}

export interface NextEvent {
  /** null: nothing has happened since. */
  readonly event: Event | null;
  /** Whether events between the asked id and `event` are no longer here. */
  readonly missed: boolean;
}

/** What a log holds, for one that goes on with it. */
export interface EventLogState {
  readonly lastId: number;
  readonly events: readonly Event[];
}

export interface EventLogOptions {
  readonly capacity?: number;
  /** Goes on with the events of another log, so that no reader misses one. */
  readonly after?: EventLogState | undefined;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

export class EventLog {
  readonly #capacity: number;
  readonly #now: () => number;
  readonly #events: Event[];
  readonly #listeners = new Set<EventListener>();
  #lastId: number;

  constructor({ capacity = 1000, after, now = Date.now }: EventLogOptions = {}) {
    this.#capacity = capacity;
    this.#now = now;
    this.#events = [...(after?.events ?? [])];
    this.#lastId = after?.lastId ?? now() * 1000;
  }

  get state(): EventLogState {
    return { lastId: this.#lastId, events: [...this.#events] };
  }

  /** The id of the newest event, or the one before the first. */
  get lastId(): number {
    return this.#lastId;
  }

  /** Numbers, dates and keeps the event, then tells every listener before it returns. A listener must not throw. */
  append(draft: EventDraft): Event {
    this.#lastId += 1;
    const event: Event = { id: this.#lastId, at: new Date(this.#now()).toISOString(), ...draft };
    this.#events.push(event);
    if (this.#events.length > this.#capacity) this.#events.shift();
    for (const listener of this.#listeners) listener(event);
    return event;
  }

  /** What happened after the event `id`, the oldest first. An id from the future is of a life with another clock. */
  since(id: number): EventsSince {
    if (id > this.#lastId) return { events: [...this.#events], missed: true };
    const oldest = this.#events[0]?.id ?? this.#lastId + 1;
    return { events: this.#events.filter((event) => event.id > id), missed: id < oldest - 1 };
  }

  /** The first event after the event `id`; what it costs does not depend on how many there are. */
  next(id: number): NextEvent {
    const first = this.#events[0];
    if (first === undefined) return { event: null, missed: false };
    if (id > this.#lastId) return { event: first, missed: true };
    // Ids grow by one.
    const place = id + 1 - first.id;
    return { event: this.#events[Math.max(0, place)] ?? null, missed: place < 0 };
  }

  /** Calls `listener` for each event from now on, until the returned function is called. */
  subscribe(listener: EventListener): () => void {
    // A wrapper of its own, so that the same function can subscribe twice and leave once.
    const own: EventListener = (event) => listener(event);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }
}
