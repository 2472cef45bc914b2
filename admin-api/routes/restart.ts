import type { FastifyInstance } from "fastify";

import { BEGINS, NO_BEGINNING } from "../operation.ts";
import { NoBody } from "../request-schemas.ts";
import { Deploy } from "../schemas.ts";
import { type RouteContext, onService } from "./context.ts";

export function restartRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Params: { service: string } }>(
    "/v1/services/:service/restart",
    {
      config: {
        role: "deploy",
        operation: {
          id: "restartService",
          summary: "Deploys the release that is current once more.",
          tag: "services",
          refusals: [...NO_BEGINNING, "SERVICE_NOT_RUNNING"],
          ...BEGINS,
        },
      },
      schema: { body: NoBody, response: { 202: Deploy } },
    },
    async (request, reply) => {
      const deploy = await onService(context, request, (service, caller) =>
        context.operations.restart(service, caller),
      );
      return reply.code(202).header("location", `/v1/deploys/${deploy.id}`).send(deploy);
    },
  );
}
