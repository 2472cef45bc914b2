import type { FastifyInstance } from "fastify";

import { ScaleRequest } from "../request-schemas.ts";
import { Service } from "../schemas.ts";
import { type RouteContext, onService } from "./context.ts";

export function scaleRoutes(app: FastifyInstance, context: RouteContext): void {
  app.put<{ Params: { service: string }; Body: ScaleRequest }>(
    "/v1/services/:service/scale",
    {
      config: {
        role: "deploy",
        operation: {
          id: "scaleService",
          summary: "Runs so many instances of the service from now on.",
          tag: "services",
          refusals: [
            "NOTHING_TO_SCALE",
            "SCALE_INVALID",
            "SERVICE_HELD",
            "DEPLOY_IN_PROGRESS",
            "DEPLOY_ROLLING_BACK",
            "DAEMON_STOPPING",
          ],
          takesIfMatch: true,
        },
      },
      schema: { body: ScaleRequest, response: { 200: Service } },
    },
    async (request) =>
      onService(context, request, (service, caller) =>
        context.operations.scale(service, request.body.instances, caller),
      ),
  );
}
