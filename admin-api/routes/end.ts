import type { FastifyInstance } from "fastify";

import { GenerationParams, NoBody } from "../request-schemas.ts";
import { Generation } from "../schemas.ts";
import { type RouteContext, onService } from "./context.ts";

export function endRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Params: GenerationParams }>(
    "/v1/services/:service/generations/:number/end",
    {
      config: {
        role: "deploy",
        operation: {
          id: "endGeneration",
          summary: "Ends a draining generation now: what is left of it is killed.",
          tag: "services",
          refusals: ["GENERATION_IN_USE"],
          takesIfMatch: true,
        },
      },
      schema: { params: GenerationParams, body: NoBody, response: { 200: Generation } },
    },
    async (request) =>
      onService(context, request, (service, caller) =>
        context.operations.endGeneration(service, request.params.number, caller),
      ),
  );
}
