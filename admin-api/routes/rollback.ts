import type { FastifyInstance } from "fastify";

import { Deploy, NoBody } from "../schemas.ts";
import { type RouteContext, once } from "./context.ts";

export function rollbackRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Params: { service: string } }>(
    "/v1/services/:service/rollback",
    { config: { role: "deploy" }, schema: { body: NoBody, response: { 202: Deploy } } },
    async (request, reply) => {
      const { service } = request.params;
      const deploy = await once(context, request, (caller) => context.operations.rollback(service, caller));
      return reply.code(202).header("location", `/v1/deploys/${deploy.id}`).send(deploy);
    },
  );
}
