import type { FastifyInstance } from "fastify";

import { BEGINS, NO_BEGINNING } from "../operation.ts";
import { HoldRequest, NoBody } from "../request-schemas.ts";
import { Deploy, Service } from "../schemas.ts";
import { type RouteContext, onService } from "./context.ts";

/** A hold lets new connections wait; a resume is a deploy of the same release that takes them. */
export function holdRoutes(app: FastifyInstance, context: RouteContext): void {
  const { operations } = context;

  app.post<{ Params: { service: string }; Body: HoldRequest }>(
    "/v1/services/:service/hold",
    {
      config: {
        role: "deploy",
        operation: {
          id: "holdService",
          summary: "Lets new connections wait in the queue. Asked for again it changes nothing.",
          tag: "services",
          refusals: ["NOTHING_TO_HOLD", "DEPLOY_IN_PROGRESS", "DEPLOY_ROLLING_BACK", "DAEMON_STOPPING"],
          takesIfMatch: true,
        },
      },
      schema: { body: HoldRequest, response: { 200: Service } },
    },
    async (request) =>
      onService(context, request, (service, caller) =>
        operations.hold(service, { idles: request.body.idle }, caller),
      ),
  );

  app.post<{ Params: { service: string } }>(
    "/v1/services/:service/resume",
    {
      config: {
        role: "deploy",
        operation: {
          id: "resumeService",
          summary: "Ends a hold: a new generation of the same release takes the connections that wait.",
          tag: "services",
          refusals: [...NO_BEGINNING.filter((code) => code !== "SERVICE_HELD"), "NOT_HELD"],
          ...BEGINS,
        },
      },
      schema: { body: NoBody, response: { 202: Deploy } },
    },
    async (request, reply) => {
      const deploy = await onService(context, request, (service, caller) =>
        operations.resume(service, caller),
      );
      return reply.code(202).header("location", `/v1/deploys/${deploy.id}`).send(deploy);
    },
  );
}
