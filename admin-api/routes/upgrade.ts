import type { FastifyInstance } from "fastify";

import { NoBody } from "../request-schemas.ts";
import { Upgrade } from "../schemas.ts";
import { type RouteContext, once } from "./context.ts";

export function upgradeRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post(
    "/v1/upgrade",
    {
      config: {
        role: "admin",
        operation: {
          id: "upgrade",
          summary:
            "Replaces the daemon by the program as it is installed now, in place, when that can go on.",
          tag: "daemon",
          refusals: ["UPGRADE_REFUSED", "UPGRADE_IN_PROGRESS", "DAEMON_STOPPING"],
        },
      },
      schema: { body: NoBody, response: { 202: Upgrade } },
    },
    async (request, reply) =>
      reply.code(202).send(await once(context, request, (caller) => context.operations.upgrade(caller))),
  );
}
