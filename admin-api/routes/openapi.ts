import type { FastifyInstance } from "fastify";

import type { RouteContext } from "./context.ts";

/** The document is made when it is asked for, once. */
export function openApiRoutes(app: FastifyInstance, { describe }: RouteContext): void {
  let document: Promise<string> | null = null;
  app.get(
    "/openapi.json",
    { config: { operation: { id: "getOpenApi", summary: "This document.", tag: "daemon" } } },
    async (_request, reply) => {
      document ??= describe().then((described) => JSON.stringify(described));
      return reply.type("application/json; charset=utf-8").send(await document);
    },
  );
}
