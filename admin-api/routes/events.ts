/**
 * Server-sent events. Each event of the log has its id, so a reader that was interrupted comes back with
 * Last-Event-ID (or `?since=`) and misses nothing that is still kept; what is not is said by a `gap`.
 *
 *   /v1/events              id, event: <type>, data: Event …             `?follow=false`: what is kept, then end
 *   /v1/deploys/{id}/events the same of one deploy, and between them
 *                           event: deploy, data: Deploy                  at the start and after each change
 *                           event: end, data: Deploy                     when it has ended; nothing comes after
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { requestInvalid } from "../errors.ts";
import { END, format, type EventStream, type Source } from "../event-stream.ts";
import type { EventLog } from "../events.ts";
import { EventsQuery } from "../request-schemas.ts";
import { type Event } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

export function eventRoutes(app: FastifyInstance, context: RouteContext): void {
  const schema = { querystring: EventsQuery };

  app.get<{ Querystring: EventsQuery }>(
    "/v1/events",
    {
      schema,
      exposeHeadRoute: false,
      config: {
        operation: {
          id: "followEvents",
          summary: "Everything as it happens.",
          tag: "events",
          produces: "text/event-stream",
        },
      },
    },
    (request, reply) => {
      const { events } = context.operations;
      const kept = new Walk(
        events,
        sinceOf(request),
        () => true,
        request.query.follow ? Infinity : events.lastId,
      );
      const ends: (string | typeof END)[] = request.query.follow
        ? []
        : [format({ event: "end", data: {} }), END];
      begin(context, reply, {
        next: () => kept.next() ?? ends.shift() ?? null,
        onClose: () => undefined,
      });
    },
  );

  app.get<{ Params: { id: string }; Querystring: EventsQuery }>(
    "/v1/deploys/:id/events",
    {
      schema,
      exposeHeadRoute: false,
      config: {
        operation: {
          id: "followDeploy",
          summary: "One deploy as it happens.",
          tag: "events",
          produces: "text/event-stream",
        },
      },
    },
    async (request, reply) => {
      // Refused as an ordinary request while it still can be: once the stream has begun there is no status.
      await context.operations.getDeploy(request.params.id);
      followDeploy(context, request.params.id, request, reply);
    },
  );
}

/** The record is read when an event says that it has changed, and shown when it really has. */
function followDeploy(context: RouteContext, id: string, request: EventsRequest, reply: FastifyReply): void {
  const { events } = context.operations;
  const { follow } = request.query;
  const isAbout = (event: Event): boolean => event.deploy === id;
  const kept = new Walk(events, sinceOf(request), isAbout, Infinity);
  let shown = "";
  let record: string | null = null;
  let isOver = false;
  const show = coalesced(async () => {
    if (stream.closed || isOver) return;
    try {
      const deploy = await context.operations.getDeploy(id);
      const ended = deploy.finishedAt !== null;
      const text = format({ event: ended ? "end" : "deploy", data: deploy });
      if (text !== shown) record = shown = text;
      isOver = ended || !follow;
      stream.wake();
    } catch (error) {
      context.log.error(
        { err: error, request: request.id, deploy: id },
        "event stream ended: deploy unreadable",
      );
      stream.end();
    }
  });
  const stream = begin(context, reply, {
    next: () => {
      const text = kept.next() ?? record;
      if (text === record) record = null;
      return text ?? (isOver ? END : null);
    },
    onClose: () => leave(),
  });
  const leave = events.subscribe((event) => {
    if (isAbout(event)) show();
  });
  show();
}

/** A reader's way through the log. */
class Walk {
  readonly #log: EventLog;
  readonly #wanted: (event: Event) => boolean;
  readonly #until: number;
  #at: number;

  /** Begins after the event `since`; 0: with all that is kept; null: with what happens next. */
  constructor(log: EventLog, since: number | null, wanted: (event: Event) => boolean, until: number) {
    this.#log = log;
    this.#wanted = wanted;
    this.#until = until;
    this.#at = since ?? log.lastId;
  }

  /** The next event that is wanted, or a gap, as text; null: there is none now. */
  next(): string | null {
    for (;;) {
      const { event, missed } = this.#log.next(this.#at);
      if (event === null || event.id > this.#until) return null;
      const since = this.#at;
      if (missed && since > 0) {
        this.#at = event.id - 1;
        return format({ event: "gap", data: { since } });
      }
      this.#at = event.id;
      if (this.#wanted(event)) return textOf(event);
    }
  }
}

/** Every reader gets the same text. */
const texts = new WeakMap<Event, string>();

function textOf(event: Event): string {
  const known = texts.get(event);
  if (known !== undefined) return known;
  const text = format({ event: event.type, id: event.id, data: event });
  texts.set(event, text);
  return text;
}

/** Runs `act` when called, one at a time: calls that come while it runs make it run once more. `act` must not fail. */
function coalesced(act: () => Promise<void>): () => void {
  let state: "idle" | "running" | "again" = "idle";
  const run = async (): Promise<void> => {
    state = "running";
    await act();
    if (again()) await run();
    else state = "idle";
  };
  const again = (): boolean => state === "again";
  return () => {
    if (state === "idle") void run();
    else state = "again";
  };
}

type EventsRequest = FastifyRequest<{ Querystring: EventsQuery }>;

/** Takes the connection over. */
function begin({ streams }: RouteContext, reply: FastifyReply, source: Source): EventStream {
  const headers = reply.getHeaders();
  reply.hijack();
  return streams.open(reply.raw, headers, source);
}

/** Last-Event-ID wins over the query: it is newer, a browser repeats the query as it was. 0: all that is kept. */
function sinceOf(request: EventsRequest): number | null {
  const header = request.headers["last-event-id"];
  if (header === undefined || header === "") return request.query.since ?? null;
  if (typeof header === "string" && /^\d{1,16}$/.test(header)) return Number(header);
  throw requestInvalid("The header Last-Event-ID must be the id of an event.", { place: "Last-Event-ID" });
}
