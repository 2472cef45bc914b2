import type { FastifyInstance } from "fastify";

import type { RouteContext } from "./context.ts";

export function metricsRoutes(app: FastifyInstance, { operations }: RouteContext): void {
  app.get(
    "/metrics",
    {
      config: {
        operation: {
          id: "getMetrics",
          summary: "The metrics in Prometheus' text format.",
          tag: "daemon",
          produces: "text/plain",
        },
      },
    },
    async (_request, reply) => {
      const { contentType, body } = await operations.metrics();
      return reply.type(contentType).send(body);
    },
  );
}
