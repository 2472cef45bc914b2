import type { FastifyInstance } from "fastify";

import { NoBody, Upgrade } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

export function upgradeRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post("/v1/upgrade", { schema: { body: NoBody, response: { 202: Upgrade } } }, async (request, reply) =>
    reply.code(202).send(await context.operations.upgrade(context.callerOf(request))),
  );
}
