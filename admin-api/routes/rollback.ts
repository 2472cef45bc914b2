import type { FastifyInstance } from "fastify";

import { BEGINS, NO_BEGINNING } from "../operation.ts";
import { NoBody } from "../request-schemas.ts";
import { Deploy } from "../schemas.ts";
import { type RouteContext, onService } from "./context.ts";

export function rollbackRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Params: { service: string } }>(
    "/v1/services/:service/rollback",
    {
      config: {
        role: "deploy",
        operation: {
          id: "rollbackService",
          summary:
            "Gives the traffic back while the previous generation bakes; afterwards deploys its release.",
          tag: "services",
          refusals: [
            ...NO_BEGINNING,
            "DEPLOY_NOT_SHIFTED",
            "DEPLOY_NO_WAY_BACK",
            "DEPLOY_ROLLING_BACK",
            "NO_PREVIOUS_RELEASE",
          ],
          ...BEGINS,
        },
      },
      schema: { body: NoBody, response: { 202: Deploy } },
    },
    async (request, reply) => {
      const deploy = await onService(context, request, (service, caller) =>
        context.operations.rollback(service, caller),
      );
      return reply.code(202).header("location", `/v1/deploys/${deploy.id}`).send(deploy);
    },
  );
}
