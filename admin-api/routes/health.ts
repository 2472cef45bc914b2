import type { FastifyInstance } from "fastify";

import { Alive, Health } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

/** /healthz: the daemon answers. /readyz: every service is served; 503 with the reasons otherwise. */
export function healthRoutes(app: FastifyInstance, { operations }: RouteContext): void {
  app.get(
    "/healthz",
    {
      config: {
        role: "anyone",
        operation: { id: "isAlive", summary: "Whether the daemon answers.", tag: "daemon" },
      },
      schema: { response: { 200: Alive } },
    },
    (): Alive => ({
      alive: true,
    }),
  );
  app.get(
    "/readyz",
    {
      config: {
        operation: {
          id: "isReady",
          summary:
            "Whether every service has the instances that it needs at least; 503 with the reasons otherwise.",
          tag: "daemon",
        },
      },
      schema: { response: { 200: Health, 503: Health } },
    },
    (_request, reply) => {
      const health = operations.health();
      return reply.code(health.ready ? 200 : 503).send(health);
    },
  );
}
