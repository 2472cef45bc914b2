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
import type { EventStream } from "../event-stream.ts";
import { type Event, EventsQuery } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

export function eventRoutes(app: FastifyInstance, context: RouteContext): void {
  const options = { schema: { querystring: EventsQuery }, exposeHeadRoute: false };

  app.get<{ Querystring: EventsQuery }>("/v1/events", options, (request, reply) => {
    const stream = begin(context, request, reply, { wanted: () => true });
    if (request.query.follow) return;
    stream.send({ event: "end", data: {} });
    stream.end();
  });

  app.get<{ Params: { id: string }; Querystring: EventsQuery }>(
    "/v1/deploys/:id/events",
    options,
    async (request, reply) => {
      // Refused as an ordinary request while it still can be: once the stream has begun there is no status.
      await context.operations.getDeploy(request.params.id);
      followDeploy(context, request.params.id, request, reply);
    },
  );
}

/** The record is read when an event says that it has changed, and shown when it really has. */
function followDeploy(context: RouteContext, id: string, request: EventsRequest, reply: FastifyReply): void {
  let shown = "";
  const show = coalesced(async () => {
    if (stream.closed) return;
    try {
      const deploy = await context.operations.getDeploy(id);
      const ended = deploy.finishedAt !== null;
      const text = JSON.stringify(deploy);
      if (ended || text !== shown) stream.send({ event: ended ? "end" : "deploy", data: deploy });
      if (ended || !request.query.follow) stream.end();
      shown = text;
    } catch (error) {
      context.log.error(
        { err: error, request: request.id, deploy: id },
        "event stream ended: deploy unreadable",
      );
      stream.end();
    }
  });
  const stream = begin(context, request, reply, { wanted: (event) => event.deploy === id, then: show });
  show();
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

interface Reader {
  readonly wanted: (event: Event) => boolean;
  /** Called after each wanted event that happens from now on. */
  readonly then?: () => void;
}

/** Takes the connection over: what the reader has missed first, then each event as it happens. */
function begin(
  { operations: { events }, streams }: RouteContext,
  request: EventsRequest,
  reply: FastifyReply,
  { wanted, then = () => undefined }: Reader,
): EventStream {
  const since = sinceOf(request);
  reply.hijack();
  const stream = streams.open(reply.raw, () => unsubscribe());
  const send = (event: Event) => stream.send({ event: event.type, id: event.id, data: event });
  if (since !== null) {
    const { events: kept, missed } = events.since(since);
    if (missed && since > 0) stream.send({ event: "gap", data: { since } });
    for (const event of kept.filter(wanted)) send(event);
  }
  const unsubscribe = events.subscribe((event) => {
    if (!wanted(event)) return;
    send(event);
    then();
  });
  return stream;
}

/** Last-Event-ID wins over the query: it is newer, a browser repeats the query as it was. 0: all that is kept. */
function sinceOf(request: EventsRequest): number | null {
  const header = request.headers["last-event-id"];
  if (header === undefined || header === "") return request.query.since ?? null;
  if (typeof header === "string" && /^\d{1,16}$/.test(header)) return Number(header);
  throw requestInvalid("The header Last-Event-ID must be the id of an event.", { place: "Last-Event-ID" });
}
