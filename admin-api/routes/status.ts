import type { FastifyInstance } from "fastify";

import { isChange } from "../gate.ts";
import { Status } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

/** The most of the time that making the status for those who look on may take, and for how long it is shown at most. */
const SHARE_OF_LOOKING = 1 / 50;
const LONGEST_MS = 50;

interface Made {
  readonly text: string;
  /** The newest event that it knows of. */
  readonly lastEvent: number;
  /** By performance.now(). */
  readonly until: number;
}

/** However many look, the status is made now and then: it may be some milliseconds old, but is never from before an event or a change. */
export function statusRoutes(app: FastifyInstance, { operations }: RouteContext): void {
  let made: Made | null = null;
  const make = (): Made => {
    const begun = performance.now();
    const text = JSON.stringify(operations.status());
    const at = performance.now();
    const until = at + Math.min(LONGEST_MS, (at - begun) / SHARE_OF_LOOKING);
    return { text, lastEvent: operations.events.lastId, until };
  };
  app.addHook("onSend", (request, _reply, payload, done) => {
    if (isChange(request)) made = null;
    done(null, payload);
  });
  app.get(
    "/v1/status",
    {
      config: {
        operation: { id: "getStatus", summary: "The daemon, its listeners and its services.", tag: "daemon" },
      },
      schema: { response: { 200: Status } },
    },
    (_request, reply) => {
      const isFresh =
        made !== null && made.lastEvent === operations.events.lastId && performance.now() < made.until;
      made = isFresh && made !== null ? made : make();
      return reply.type("application/json; charset=utf-8").send(made.text);
    },
  );
}
