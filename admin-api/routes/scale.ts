import type { FastifyInstance } from "fastify";

import { ScaleRequest, Service } from "../schemas.ts";
import { type RouteContext, once } from "./context.ts";

export function scaleRoutes(app: FastifyInstance, context: RouteContext): void {
  app.put<{ Params: { service: string }; Body: ScaleRequest }>(
    "/v1/services/:service/scale",
    { config: { role: "deploy" }, schema: { body: ScaleRequest, response: { 200: Service } } },
    async (request) => {
      const { service } = request.params;
      const { instances } = request.body;
      return once(context, request, (caller) => context.operations.scale(service, instances, caller));
    },
  );
}
