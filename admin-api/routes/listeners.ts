import type { FastifyInstance } from "fastify";

import { listenerUnknown } from "../errors.ts";
import { Listener, ListenerList } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

export function listenerRoutes(app: FastifyInstance, { operations }: RouteContext): void {
  app.get(
    "/v1/listeners",
    {
      config: { operation: { id: "listListeners", summary: "All listeners.", tag: "listeners" } },
      schema: { response: { 200: ListenerList } },
    },
    (): ListenerList => {
      return { listeners: operations.status().listeners };
    },
  );
  app.get<{ Params: { name: string } }>(
    "/v1/listeners/:name",
    {
      config: { operation: { id: "getListener", summary: "One listener with its slots.", tag: "listeners" } },
      schema: { response: { 200: Listener } },
    },
    (request): Listener => {
      const { listeners } = operations.status();
      const listener = listeners.find(({ name }) => name === request.params.name);
      if (listener !== undefined) return listener;
      throw listenerUnknown(
        request.params.name,
        listeners.map(({ name }) => name),
      );
    },
  );
}
