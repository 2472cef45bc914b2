import type { FastifyInstance } from "fastify";

import { Generation, GenerationParams, NoBody } from "../schemas.ts";
import { type RouteContext, once } from "./context.ts";

export function endRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Params: GenerationParams }>(
    "/v1/services/:service/generations/:number/end",
    { schema: { params: GenerationParams, body: NoBody, response: { 200: Generation } } },
    async (request) => {
      const { service, number } = request.params;
      return once(context, request, (caller) => context.operations.endGeneration(service, number, caller));
    },
  );
}
